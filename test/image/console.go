package image

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// console is a serial port: what came, and how far it was looked at.
type console struct {
	tb  testing.TB
	in  io.Writer
	mu  sync.Mutex // guards all and at
	all []byte
	at  int
	new chan struct{} // something came
	end chan struct{} // nothing more comes; closed
}

// watch collects what the machine says until it ends.
func watch(tb testing.TB, in io.Writer, out io.Reader) *console {
	c := &console{tb: tb, in: in, new: make(chan struct{}, 1), end: make(chan struct{})}
	go func() {
		defer close(c.end)
		for b := make([]byte, 4096); ; {
			n, err := out.Read(b)
			c.mu.Lock()
			c.all = append(c.all, b[:n]...)
			c.mu.Unlock()
			if err != nil {
				return
			}
			select {
			case c.new <- struct{}{}:
			default:
			}
		}
	}()
	return c
}

// text is all that it said.
func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.all)
}

// find looks for what follows what was found before.
func (c *console) find(what *regexp.Regexp) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.all[c.at:]
	at := what.FindSubmatchIndex(rest)
	if at == nil {
		return nil
	}
	var words []string
	for i := 0; i < len(at); i += 2 {
		words = append(words, string(rest[at[i]:at[i+1]]))
	}
	c.at += at[1]
	return words
}

// await waits for the machine to say something, and returns the match and its groups.
func (c *console) await(pattern string, limit time.Duration) []string {
	c.tb.Helper()
	what, late := regexp.MustCompile(pattern), time.After(limit)
	for {
		if words := c.find(what); words != nil {
			return words
		}
		select {
		case <-c.new:
		case <-c.end:
			if words := c.find(what); words != nil {
				return words
			}
			c.tb.Fatalf("the machine ended and never said %q", pattern)
		case <-late:
			c.tb.Fatalf("the machine did not say %q within %s", pattern, limit)
		}
	}
}

// say types a line.
func (c *console) say(line string) {
	c.tb.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.tb.Fatalf("type %q: %v", line, err)
	}
}

// login becomes root, in a shell that shows nothing but what commands print.
func (c *console) login(password string) {
	c.tb.Helper()
	c.await(`login: `, bootLimit)
	c.say("root")
	c.await(`Password: `, commandLimit)
	c.say(password)
	c.await(`# `, commandLimit)
	c.say("exec dash") // which edits no lines
	c.say("dmesg -n 1; stty -echo; PS1=; echo re''ady")
	c.await("ready\r?\n", commandLimit)
}

// sh runs a command and returns what it printed.
func (c *console) sh(command string) string {
	c.tb.Helper()
	c.say(fmt.Sprintf("echo be''gin; { %s\n} 2>&1; echo en''d:$?", command))
	words := c.await(`(?s)begin\r?\n(.*?)end:(\d+)\r?\n`, commandLimit)
	out := strings.TrimSpace(strings.ReplaceAll(words[1], "\r", ""))
	if words[2] != "0" {
		c.tb.Fatalf("on the machine: %s: exit status %s\n%s", command, words[2], out)
	}
	return out
}
