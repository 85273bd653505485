package ipvsadm

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"ulvs/control"
	"ulvs/lvs"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// answers returns what each command of the reference printed.
func answers(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, part := range strings.Split("\n"+read(t, "reference.out"), "\n$ ipvsadm ")[1:] {
		command, text, _ := strings.Cut(strings.TrimSuffix(part, "\n"), "\n")
		if text != "" {
			text += "\n"
		}
		m[command] = text
	}
	return m
}

// reference is the director behind reference.out.
func reference(t *testing.T, rules string) *fake {
	t.Helper()
	f := newFake()
	if got := run(t, f, rules, "-R"); got != (call{}) {
		t.Fatalf("-R of the reference: %+v", got)
	}
	run(t, f, "", strings.Fields("-e -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -x 100 -y 50")...)
	f.counts = map[string]counts{}
	for _, line := range strings.Split(strings.TrimSpace(read(t, "reference_state.tsv")), "\n")[1:] {
		fields := strings.Split(line, "\t")
		var n [13]uint64
		for i := range n {
			var err error
			if n[i], err = strconv.ParseUint(fields[2+i], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		f.counts[strings.TrimSuffix(fields[0]+" "+fields[1], " -")] = counts{int(n[0]), int(n[1]), int(n[2]),
			control.Counters{Stats: control.Stats{Conns: n[3], InPackets: n[4], OutPackets: n[5], InBytes: n[6], OutBytes: n[7]},
				Rates: control.Rates{Conns: n[8], InPackets: n[9], OutPackets: n[10], InBytes: n[11], OutBytes: n[12]}}}
	}
	return f
}

func TestEveryListingLooksAsInTheReference(t *testing.T) {
	want := answers(t)
	f := reference(t, want["-S -n"])
	for command, text := range want {
		if strings.Contains(command, "--nosort") || strings.Contains(command, "-daemon ") ||
			strings.HasSuffix(command, "--daemon") || strings.Contains(strings.ToLower(command), "-lcn") {
			continue // the kernel's order, and what has tests of its own
		}
		compare(t, command, run(t, f, "", strings.Fields(command)...), call{out: text})
	}
}

func TestSessionsLookAsInTheReference(t *testing.T) {
	want := answers(t)
	f := newFake()
	for _, line := range strings.Split(want["-Lcn"], "\n")[2:] {
		if line != "" {
			f.conns = append(f.conns, parseConn(t, line))
		}
	}
	compare(t, "-Lcn", run(t, f, "", "-Lcn"), call{out: want["-Lcn"]})
	compare(t, "-lcn --sort", run(t, f, "", "-lcn", "--sort"), call{out: want["-Lcn"]})
	title, _, _ := strings.Cut(want["-Lcn --persistent-conn"], "\nTCP")
	if got := run(t, f, "", "-Lcn", "--persistent-conn"); !strings.HasPrefix(got.out, title+"\n") {
		t.Errorf("got %swant %s", got.out, title)
	}
}

// parseConn reads "TCP 00:52  SYN_RECV    172.16.0.9:1009    10.0.0.1:80        10.1.0.3:80".
func parseConn(t *testing.T, line string) control.ListedConn {
	t.Helper()
	w := strings.Fields(line)
	minutes, seconds, _ := strings.Cut(w[1], ":")
	m, err1 := strconv.Atoi(minutes)
	s, err2 := strconv.Atoi(seconds)
	if err := errors.Join(err1, err2); err != nil || len(w) != 6 {
		t.Fatalf("%s: %v", line, err)
	}
	protos := map[string]uint8{"IP": 0, "TCP": lvs.ProtoTCP, "UDP": lvs.ProtoUDP}
	return control.ListedConn{Protocol: protos[w[0]], State: w[2], ExpiresSeconds: 60*m + s,
		Client: netip.MustParseAddrPort(w[3]), VIP: netip.MustParseAddrPort(w[4]), Dest: netip.MustParseAddrPort(w[5])}
}

// trafficked is the director behind conns.out and proc.out: services in the kernel's order.
func trafficked(t *testing.T) *fake {
	t.Helper()
	f := newFake()
	if got := run(t, f, `-A --sctp-service 198.18.0.100:55 -s rr -p -M 0.0.0.255
		-A -t 198.18.0.100:443 -s rr -p 100 -M 255.255.0.0
		-a -t 198.18.0.100:443 -r 10.0.0.21
		-A -t [2001:db8:c::100]:80 -s rr -p
		-a -t [2001:db8:c::100]:80 -r 10.0.0.22 -i
		-A -u [2001:db8:c::100]:53 -s rr -o
		-A -u [2001:db8:c::100]:54 -s rr -p -M 64
		-A -u 198.18.0.100:54 -s rr -o -p
		-A -t 198.18.0.100:80 -s rr
		-a -t 198.18.0.100:80 -r 10.0.0.22
		-A -t 198.18.0.100:81 -s rr
		-A -f 5 -p -s rr
		-a -f 5 -r 10.0.0.23
		-A -f 9 -6 -o
		`, "-R"); got != (call{}) {
		t.Fatalf("%+v", got)
	}
	f.counts = map[string]counts{"TCP 198.18.0.100:443 10.0.0.21:443": {active: 1},
		"TCP [2001:db8:c::100]:80 10.0.0.22:80": {active: 1}, "TCP 198.18.0.100:80 10.0.0.22:80": {active: 1},
		"FWM 5 10.0.0.23:0": {active: 1}}
	for _, line := range strings.Split(strings.TrimSpace(read(t, "conns.out")), "\n")[2:] {
		f.conns = append(f.conns, parseConn(t, line))
	}
	return f
}

func TestSessionsAreListedWithNames(t *testing.T) {
	f := trafficked(t)
	compare(t, "-Lcn", run(t, f, "", "-Lcn"), call{out: read(t, "conns.out")})
	compare(t, "-Lc", run(t, f, "", "-Lc"), call{out: read(t, "conns_names.out")})
}

func TestProcFilesAreAKernels(t *testing.T) {
	f := trafficked(t)
	var got bytes.Buffer
	for _, name := range []string{"ip_vs", "/proc/net/ip_vs_conn", "ip_vs_conn_sync"} {
		if err := Proc(&got, name, f); err != nil {
			t.Fatal(err)
		}
	}
	compare(t, "proc", call{out: got.String()}, call{out: read(t, "proc.out")})
	f.conns[0].Synced = true
	got.Reset()
	err := Proc(&got, "ip_vs_conn_sync", f)
	if err != nil || !strings.Contains(got.String(), "NONE        SYNC       359\n") {
		t.Errorf("%v, %s", err, &got)
	}
}

func TestProcStatisticsAreHexadecimal(t *testing.T) {
	l := &control.Listing{}
	l.Total.Stats = control.Stats{Conns: 3, InPackets: 30, InBytes: 120, OutBytes: 1 << 40}
	l.Total.Rates = control.Rates{Conns: 255, InBytes: 4096}
	b := listingOnly{newFake(), l}
	for name, want := range map[string]string{"ip_vs_stats": `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       3       1E        0               78      10000000000

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
      FF        0        0             1000                0
`, "ip_vs_stats_percpu": `       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        3       1E        0               78      10000000000
  ~        3       1E        0               78      10000000000

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
          FF        0        0             1000                0
`} {
		var got bytes.Buffer
		if err := Proc(&got, name, b); err != nil || got.String() != want {
			t.Errorf("%s: %v\n got:\n%swant:\n%s", name, err, &got, want)
		}
	}
}

// listingOnly answers with a listing.
type listingOnly struct {
	*fake
	l *control.Listing
}

func (b listingOnly) Listing() (control.Listing, error) { return *b.l, nil }

func TestSysctlsAreAKernels(t *testing.T) {
	var got bytes.Buffer
	if err := Proc(&got, "sysctl", newFake()); err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, line := range strings.SplitAfter(read(t, "sysctl.out"), "\n") {
		// Of a kernel with debugging, and of a machine's memory.
		if !strings.Contains(line, "debug_level") && !strings.Contains(line, "sync_qlen_max") {
			want += line
		}
	}
	if got.String() != want {
		t.Errorf("got:\n%swant:\n%s", &got, want)
	}
}

func TestUnknownProcFilesAndDeadDirectorsAreErrors(t *testing.T) {
	f := newFake()
	if err := Proc(&bytes.Buffer{}, "meminfo", f); !errors.Is(err, ErrNoProc) {
		t.Errorf("got %v", err)
	}
	f.down = control.ErrNotRunning
	for _, name := range ProcNames() {
		if err := Proc(&bytes.Buffer{}, name, f); !errors.Is(err, control.ErrNotRunning) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
