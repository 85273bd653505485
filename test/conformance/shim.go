package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// socketEnv tells a stand-in where the replay listens.
const socketEnv = "ULVS_REPLAY_SOCKET"

// procFile is the stand-in that prints the name of a file with what /proc/net would hold now. Shell lines
// are rewritten to call it.
const procFile = "ulvs-procfile"

// sysctlFile is the stand-in that takes what a line writes into a file of /proc/sys/net/ipv4/vs.
const sysctlFile = "ulvs-sysctlfile"

// standIns are the commands that a replayed shell line finds instead of the machine's.
var standIns = append([]string{"ipvsadm", "ipvsadm-save", "ipvsadm-restore", "sysctl", "ip", "sleep", procFile,
	sysctlFile}, untouchables...)

// untouchables would change the machine that replays, or ask it. A line that calls one fails.
var untouchables = []string{"arp", "arping", "brctl", "bridge", "conntrack", "ethtool", "halt", "ifconfig",
	"ip6tables", "ip6tables-legacy", "ip6tables-nft", "iptables", "iptables-legacy", "iptables-nft", "kill", "killall",
	"keepalived", "modprobe", "nc", "nft", "ping", "pkill", "reboot", "rmmod", "insmod", "route", "service", "ss",
	"netstat", "systemctl", "tc", "tcpdump", "curl", "wget"}

// call is a stand-in's question.
type call struct {
	Name  string   `json:"name"`
	Args  []string `json:"args"`
	Stdin []byte   `json:"stdin"`
}

// answer is what the stand-in does then.
type answer struct {
	Out  []printed `json:"out"`
	Code int       `json:"code"`
}

// printed is text for one file descriptor; answers keep the order of both.
type printed struct {
	FD   int    `json:"fd"`
	Text []byte `json:"text"`
}

// Main makes the calling program a stand-in if it was started as one (the replay starts itself again, under
// other names), and then does not return. Programs that replay call it first.
func Main() {
	name, socket := filepath.Base(os.Args[0]), os.Getenv(socketEnv)
	if socket == "" || !slices.Contains(standIns, name) {
		return
	}
	args := os.Args[1:]
	if name == "ip" && len(args) > 3 && args[0] == "netns" && args[1] == "exec" { // there is one, the director's
		inNamespace(args[3:])
	}
	code, err := standIn(socket, call{Name: name, Args: args})
	if err != nil {
		fmt.Fprintf(os.Stderr, "replay: %s: %v\n", name, err)
		code = 1
	}
	os.Exit(code)
}

// inNamespace becomes the command that was to run in a network namespace. It returns only if there is none.
func inNamespace(args []string) {
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = syscall.Exec(path, args, os.Environ())
	}
	fmt.Fprintf(os.Stderr, "replay: %s: %v\n", args[0], err)
	os.Exit(127)
}

func standIn(socket string, c call) (code int, err error) {
	if c.readsInput() {
		if c.Stdin, err = io.ReadAll(os.Stdin); err != nil {
			return 0, err
		}
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(c); err != nil {
		return 0, err
	}
	var a answer
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return 0, err
	}
	for _, p := range a.Out {
		to := os.Stdout
		if p.FD == 2 {
			to = os.Stderr
		}
		if _, err := to.Write(p.Text); err != nil {
			return 0, err
		}
	}
	return a.Code, nil
}

// readsInput reports whether the command reads its standard input: nobody else's may be taken away.
func (c *call) readsInput() bool {
	if c.Name == sysctlFile || c.Name == "ipvsadm-restore" {
		return true
	}
	return c.Name == "ipvsadm" && slices.ContainsFunc(c.Args, func(a string) bool {
		return a == "--restore" || strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.Contains(a, "R")
	})
}
