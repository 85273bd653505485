package conformance

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ulvs/control"
	"ulvs/control/ipvsadm"
	"ulvs/lvs"
)

// desk answers the stand-ins of one replay.
type desk struct {
	bed     *bed
	proc    string            // folder for /proc/net's files
	sysctls map[string]string // that the director does not have: remembered
	refused []string          // what a line asked of the replay that it cannot do
}

// output collects what a stand-in prints, in order.
type output struct{ a answer }

type stream struct {
	o  *output
	fd int
}

// Write appends to the stream.
func (s stream) Write(b []byte) (int, error) {
	s.o.a.Out = append(s.o.a.Out, printed{s.fd, bytes.Clone(b)})
	return len(b), nil
}

func (d *desk) serve(c call) answer {
	o := &output{}
	out, err := stream{o, 1}, stream{o, 2}
	switch c.Name {
	case "ipvsadm", "ipvsadm-save", "ipvsadm-restore":
		o.a.Code = ipvsadm.Run(c.ipvsadm(), ipvsadm.IO{
			In: bytes.NewReader(c.Stdin), Out: out, Err: err, Names: offline{ipvsadm.SystemNames()},
		}, front{d.bed})
	case "sysctl":
		o.a.Code = d.sysctl(c.Args, out, err)
	case "ip":
		o.a.Code = d.ip(c.Args, err)
	case "sleep":
		o.a.Code = d.sleep(c.Args, err)
	case procFile:
		o.a.Code = d.procFile(c.Args, out, err)
	case sysctlFile:
		o.a.Code = d.sysctlSet(vsPrefix+strings.Join(c.Args, ""), strings.TrimSpace(string(c.Stdin)), err)
	default:
		o.a.Code = d.refuse(err, strings.Join(append([]string{c.Name}, c.Args...), " "))
	}
	return o.a
}

// ipvsadm returns the arguments of ipvsadm, which its two scripts call.
func (c *call) ipvsadm() []string {
	switch c.Name {
	case "ipvsadm-save":
		return append([]string{"-S"}, c.Args...)
	case "ipvsadm-restore":
		return append([]string{"-R"}, c.Args...)
	}
	return c.Args
}

// refuse says that the replay, not the director, lacks something: the step fails.
func (d *desk) refuse(err stream, what string) int {
	d.refused = append(d.refused, what)
	fmt.Fprintf(err, "replay: cannot do %s\n", what)
	return 1
}

// sleep lets the clock jump by the sum of its arguments, as coreutils' sleep reads them.
func (d *desk) sleep(args []string, err stream) int {
	total := time.Duration(0)
	for _, a := range args {
		unit := time.Second
		switch {
		case strings.HasSuffix(a, "s"):
			a = a[:len(a)-1]
		case strings.HasSuffix(a, "m"):
			a, unit = a[:len(a)-1], time.Minute
		case strings.HasSuffix(a, "h"):
			a, unit = a[:len(a)-1], time.Hour
		}
		n, bad := strconv.ParseFloat(a, 64)
		if bad != nil || n < 0 || n > 1e6 {
			return d.refuse(err, "sleep "+a)
		}
		total += time.Duration(n * float64(unit))
	}
	d.bed.pass(total)
	return 0
}

// procFile writes what a file in /proc would hold now, and prints where.
func (d *desk) procFile(args []string, out, err stream) int {
	if len(args) != 1 {
		return d.refuse(err, "procfile "+strings.Join(args, " "))
	}
	var text bytes.Buffer
	name := filepath.Base(args[0])
	if strings.HasPrefix(args[0], "sys/") {
		value, ok := d.sysctlValue(vsPrefix + name)
		if !ok {
			return d.refuse(err, "/proc/"+args[0])
		}
		fmt.Fprintln(&text, value)
	} else if bad := ipvsadm.Proc(&text, name, front{d.bed}); bad != nil {
		return d.refuse(err, "/proc/"+args[0]+": "+bad.Error())
	}
	path := filepath.Join(d.proc, name)
	if bad := os.WriteFile(path, text.Bytes(), 0o644); bad != nil {
		return d.refuse(err, bad.Error())
	}
	fmt.Fprintln(out, path)
	return 0
}

// offline knows the names of ports but none of hosts: a replay asks nobody on a network.
type offline struct{ ipvsadm.Names }

// Address implements ipvsadm.Names.
func (offline) Address(string) (a netip.Addr, ok bool) { return a, false }

// Host implements ipvsadm.Names.
func (offline) Host(netip.Addr) (name string, ok bool) { return "", false }

// front is the director as the ipvsadm front end sees it.
type front struct{ *bed }

// Edit implements ipvsadm.Backend. The workers see what it changed at once, as running ones would.
func (f front) Edit(e *lvs.Edit) error {
	if err := f.node.Edit(e); err != nil {
		return err
	}
	return f.pump()
}

// Listing implements ipvsadm.Backend.
func (f front) Listing() (control.Listing, error) { return f.node.Listing(), nil }

// Conns implements ipvsadm.Backend, in the order of the table: the kernel's has none.
func (f front) Conns(fn func(control.ListedConn) bool) error {
	f.node.ListedConns(f.now(), fn)
	return nil
}

// sysctl is procps's, for what the recordings use: -q, -w, -n, -e, -a, names and assignments.
func (d *desk) sysctl(args []string, out, err stream) (code int) {
	flags := ""
	for _, a := range args {
		switch {
		case strings.HasPrefix(a, "-"):
			flags += a[1:]
		case strings.Contains(a, "="):
			name, value, _ := strings.Cut(a, "=")
			code = max(code, d.sysctlSet(strings.TrimSpace(name), strings.TrimSpace(value), err))
			if !strings.Contains(flags, "q") {
				fmt.Fprintf(out, "%s = %s\n", strings.TrimSpace(name), strings.TrimSpace(value))
			}
		default:
			code = max(code, d.sysctlGet(a, strings.Contains(flags, "n"), out, err))
		}
	}
	if strings.ContainsAny(flags, "aA") {
		for _, name := range d.sysctlNames() {
			d.sysctlGet(name, false, out, err)
		}
	}
	return code
}

const vsPrefix = "net.ipv4.vs."

func (d *desk) sysctlSet(name, text string, err stream) int {
	name = strings.ReplaceAll(name, "/", ".")
	short, isVS := strings.CutPrefix(name, vsPrefix)
	if _, known := d.sysctls[name]; known || !isVS {
		d.sysctls[name] = strings.Join(strings.Fields(text), "\t")
		return 0
	}
	value, bad := strconv.Atoi(text)
	settings := d.bed.node.Listing().Settings
	if _, ok := settings.Get(short); !ok {
		fmt.Fprintf(err, "sysctl: cannot stat /proc/sys/%s: No such file or directory\n", strings.ReplaceAll(name, ".", "/"))
		return 255
	}
	if bad == nil {
		bad = d.bed.node.SetSetting(short, value)
	}
	if bad != nil {
		fmt.Fprintf(err, "sysctl: setting key %q: Invalid argument\n", name)
		return 255
	}
	return 0
}

func (d *desk) sysctlGet(name string, bare bool, out, err stream) int {
	name = strings.ReplaceAll(name, "/", ".")
	value, ok := d.sysctlValue(name)
	switch {
	case !ok && !strings.HasPrefix(name, vsPrefix):
		return d.refuse(err, "sysctl "+name)
	case !ok:
		fmt.Fprintf(err, "sysctl: cannot stat /proc/sys/%s: No such file or directory\n", strings.ReplaceAll(name, ".", "/"))
		return 255
	case bare:
		fmt.Fprintln(out, value)
	default:
		fmt.Fprintf(out, "%s = %s\n", name, value)
	}
	return 0
}

func (d *desk) sysctlValue(name string) (string, bool) {
	settings := d.bed.node.Listing().Settings
	if short, isVS := strings.CutPrefix(name, vsPrefix); isVS {
		if value, ok := settings.Get(short); ok {
			return strconv.Itoa(value), true
		}
	}
	value, ok := d.sysctls[name]
	return value, ok
}

func (d *desk) sysctlNames() (names []string) {
	for _, s := range lvs.SettingNames() {
		if s != "kernel_quirks" { // ours
			names = append(names, vsPrefix+s)
		}
	}
	for name := range d.sysctls {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
