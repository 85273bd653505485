package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ulvs/control"
)

// connFlags are the filters as they were typed.
type connFlags struct {
	vip, client, real, state, protocol string
	limit                              int
}

func (a *app) connsCommand() *cobra.Command {
	var flags connFlags
	cmd := &cobra.Command{
		Use:   "conns",
		Short: "List sessions and persistence templates, as ipvsadm -Lcn",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			return a.listConns(cmd, f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&flags.vip, "vip", "", "only sessions to this address, prefix or address:port")
	fs.StringVar(&flags.client, "client", "", "only sessions from this address, prefix or address:port")
	fs.StringVar(&flags.real, "real-server", "", "only sessions on this address, prefix or address:port")
	fs.StringVar(&flags.state, "state", "", "only sessions in this state, like ESTABLISHED")
	fs.StringVar(&flags.protocol, "protocol", "", "only tcp or only udp")
	fs.IntVar(&flags.limit, "limit", 0, "list so many at most; 0: all")
	return cmd
}

func (c *connFlags) filter() (f control.ConnFilter, err error) {
	f = control.ConnFilter{Protocol: c.protocol, State: c.state, Limit: c.limit}
	if c.limit < 0 {
		return f, misuse{fmt.Errorf("--limit %d is negative; give 0 for all", c.limit)}
	}
	for _, m := range []struct {
		flag, text string
		to         *control.Match
	}{{"vip", c.vip, &f.VIP}, {"client", c.client, &f.Client}, {"real-server", c.real, &f.RealServer}} {
		if *m.to, err = control.ParseMatch(m.text); err != nil {
			return f, misuse{fmt.Errorf("--%s: %w", m.flag, err)}
		}
	}
	return f, nil
}

// listConns prints while sessions arrive, so that a million of them need no memory. With --json
// every line is an object.
func (a *app) listConns(cmd *cobra.Command, f control.ConnFilter) error {
	w := bufio.NewWriter(a.out)
	header, line := printConnHeader, printConn
	if a.json {
		header, line = func(io.Writer) {}, printConnJSON
	}
	once := false
	err := control.NewClient(a.socket).Conns(cmd.Context(), f, func(c control.Conn) bool {
		if !once {
			header(w)
			once = true
		}
		line(w, &c)
		return true
	})
	if err == nil && !once {
		header(w)
	}
	if flushErr := w.Flush(); err == nil && flushErr != nil {
		err = fmt.Errorf("print: %w", flushErr)
	}
	return err
}

// Widths fit IPv4; longer addresses push their line, as in ipvsadm.
const connFormat = "%-4s %7s  %-11s  %-21s  %-21s  %-21s  %s"

func printConnHeader(w io.Writer) {
	printLine(w, fmt.Sprintf(connFormat, "Prot", "Expire", "State", "Client", "VIP", "RealServer", "Flags"))
}

func printConn(w io.Writer, c *control.Conn) {
	expire := fmt.Sprintf("%02d:%02d", c.ExpiresSeconds/60, c.ExpiresSeconds%60)
	printLine(w, fmt.Sprintf(connFormat, strings.ToUpper(c.Protocol), expire, c.State,
		addressOf(c.Client), addressOf(c.VIP), addressOf(c.RealServer), strings.Join(c.Flags, ",")))
}

func printLine(w io.Writer, s string) { fmt.Fprintln(w, strings.TrimRight(s, " ")) }

func printConnJSON(w io.Writer, c *control.Conn) {
	_ = json.NewEncoder(w).Encode(c) // a Conn can be encoded, and Flush reports a failing writer
}
