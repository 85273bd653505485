package ipvsadm

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// randomServices makes a table such as ipvsadm can make. Thresholds are left out: -S does not save them.
func randomServices(r *rand.Rand) (list []lvs.Service) {
	seen := map[lvs.ServiceKey]bool{}
	for range r.IntN(30) {
		s := randomService(r)
		if seen[s.Key] {
			continue
		}
		seen[s.Key] = true
		for range r.IntN(6) {
			d := randomDest(r, &s)
			if !slices.ContainsFunc(s.Destinations, func(o lvs.Destination) bool { return o.AddrPort() == d.AddrPort() }) {
				s.Destinations = append(s.Destinations, d)
			}
		}
		list = append(list, s)
	}
	return list
}

func randomAddr(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(1 + r.IntN(120)), byte(r.IntN(2)), 0, byte(r.IntN(4))})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(r.IntN(2)), 11: byte(r.IntN(2)), 15: byte(1 + r.IntN(4))})
}

func randomService(r *rand.Rand) lvs.Service {
	s := lvs.Service{Scheduler: schedulers[r.IntN(len(schedulers))], SchedFlags: lvs.SchedFlags(r.IntN(4))}
	s.Key = lvs.ServiceKey{Addr: randomAddr(r), Port: uint16(r.IntN(4) * 1000), Proto: lvs.ProtoTCP}
	switch r.IntN(4) {
	case 0:
		s.Key.Proto, s.OnePacket = lvs.ProtoUDP, r.IntN(2) == 0
	case 1:
		s.Key.Proto = lvs.ProtoSCTP
	case 2:
		family := netip.IPv4Unspecified()
		if s.Key.Addr.Is6() {
			family = netip.IPv6Unspecified()
		}
		// Above 2^31 the original's own -S cannot be read by its -R: it prints marks signed.
		s.Key = lvs.ServiceKey{Addr: family, Mark: 1 + r.Uint32N(1<<31-1)}
	}
	if s.Key.Port == 0 && s.Key.Mark == 0 || r.IntN(2) == 0 {
		s.Persistence = time.Duration(1+r.IntN(1000)) * time.Second
		s.PersistBits = uint8(r.IntN(s.Key.Addr.BitLen()))
		if s.Key.Addr.Is4() {
			s.SetClientMask4(r.Uint32() | 1<<r.IntN(32))
		}
	}
	return s
}

func randomDest(r *rand.Rand, s *lvs.Service) lvs.Destination {
	d := lvs.Destination{Addr: randomAddr(r), Port: uint16(1 + r.IntN(65535)), Weight: int32(r.IntN(100))}
	d.Method = lvs.Method(r.IntN(3))
	if d.Method != lvs.MethodTUN {
		for d.Addr.Is6() != s.Key.Addr.Is6() {
			d.Addr = randomAddr(r)
		}
	} else {
		d.Tunnel.Type = lvs.TunnelType(r.IntN(3))
		switch d.Tunnel.Type {
		case lvs.TunnelGUE:
			d.Tunnel.Port, d.Tunnel.Checksum = uint16(1+r.IntN(65535)), uint8(r.IntN(3))
		case lvs.TunnelGRE:
			d.Tunnel.Checksum = uint8(r.IntN(2))
		}
	}
	if d.Method != lvs.MethodNAT && s.Key.Mark == 0 {
		d.Port = s.Key.Port
	}
	return d
}

func TestWhatIsSavedIsRestored(t *testing.T) {
	r := testutil.Rand(t)
	for range testutil.Rounds(300) {
		a, b := newFake(), newFake()
		a.services = randomServices(r)
		saved := run(t, a, "", "-Sn")
		compare(t, "-R", run(t, b, saved.out, "-R"), call{})
		compare(t, "-Sn of what -R made", run(t, b, "", "-Sn"), saved)
		compare(t, "-Ln of it", run(t, b, "", "-Ln", "--tun-info"), run(t, a, "", "-Ln", "--tun-info"))
		if t.Failed() {
			t.Fatalf("input:\n%s", saved.out)
		}
	}
}

func TestRealServersAreInTheOriginalsOrderEvenWhereItIsNone(t *testing.T) {
	f := newFake()
	run(t, f, "", strings.Fields("-A -t 10.0.0.99:80 -s rr")...)
	for _, v := range strings.Fields("1.0.0.1 100.0.0.1 128.0.0.1 198.18.0.100 200.0.0.1 64.0.0.1 10.0.0.1 192.0.2.1") {
		for _, port := range []string{"9", "65000"} {
			run(t, f, "", "-a", "-t", "10.0.0.99:80", "-r", v+":"+port, "-m")
		}
	}
	for _, v := range strings.Fields(":: 1:: 7fff:: 8000:: fd00:: 2001:db8::1 a00:1:: c612:64::") {
		if v == "::" {
			v = "::2"
		}
		run(t, f, "", "-a", "-t", "10.0.0.99:80", "-r", "["+v+"]:80", "-i")
	}
	_, got, _ := strings.Cut(run(t, f, "", "-Ln").out, "InActConn\n")
	if want := read(t, "order.out"); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestLargeNumbersGetUnits(t *testing.T) {
	for n, want := range map[uint64][2]string{
		0:              {"        0", "        0"},
		99999999:       {" 99999999", " 99999999"},
		100000000:      {"  100000K", "100000000"},
		999999999:      {"  999999K", "999999999"},
		1000000000:     {"    1000M", "1000000000"},
		99999999999:    {"   99999M", "99999999999"},
		100000000000:   {"     100G", "100000000000"},
		99999999999999: {"   99999G", "99999999999999"},
		1e14:           {"     100T", "100000000000000"},
		1<<64 - 1:      {"18446744T", "18446744073709551615"},
	} {
		exact := want[1]
		if n >= 1e8 {
			exact = " " + exact
		}
		if got := [2]string{largeNumber(n, false), largeNumber(n, true)}; got != [2]string{want[0], exact} {
			t.Errorf("%d: got %q, want %q and %q", n, got, want[0], exact)
		}
	}
}

func TestAnyMaskIsAMask(t *testing.T) {
	f := newFake()
	for _, mask := range []string{"0.0.0.0", "255.0.255.0", "24"} {
		compare(t, mask, run(t, f, "", "-A", "-t", "10.0.0.1:80", "-p", "-M", mask), call{})
		compare(t, "-C", run(t, f, "", "-C"), call{})
	}
	compare(t, "without -p", run(t, f, "", "-A", "-t", "10.0.0.1:80", "-M", "24"), call{})
}

func TestADeadDirectorIsReportedWithItsOwnCode(t *testing.T) {
	f := newFake()
	f.down = fmt.Errorf("no ulvs answers on /x: %w", control.ErrNotRunning)
	want := call{err: "no ulvs answers on /x: " + control.ErrNotRunning.Error() + "\n", rc: 2}
	for _, line := range []string{"", "-Ln", "-Lc", "-L --timeout", "-L --daemon", "-S", "-C", "-Z", "-Ln -t 10.0.0.1:80",
		"-A -t 10.0.0.1:80", "-A -t 10.0.0.1:80 --pe sip", "--set 1 2 3", "--stop-daemon master"} {
		compare(t, line, run(t, f, "", strings.Fields(line)...), want)
	}
	compare(t, "-R", run(t, f, "-C\n-C\n", "-R"), want) // once
	compare(t, "-v", run(t, f, "", "-v"), call{out: versionText})
}

func TestLineNumbersStandBeforeWhatRestoreSays(t *testing.T) {
	var out, errOut strings.Builder
	std := IO{In: strings.NewReader("-A -t 1.1.1.1:1\n\n-A -t 1.1.1.1:1\n-A -t 1.1.1.1:2 -w 3\n"), Out: &out, Err: &errOut,
		Names: recordedNames, LineNumbers: true}
	rc := Run([]string{"-R"}, std, newFake())
	want := "line 3: Service already exists\nline 4: Illegal 'weight' option with the 'add-service' command\n"
	if rc != 2 || errOut.String() != want {
		t.Errorf("got %d %s, want 2 %s", rc, &errOut, want)
	}
}

func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{"-Lnc", "-A -t [2001:db8::1]:80 -s rr -p -M 64", "--set 1 2 3", "-op",
		"-a -f 1 -6 -r 10.0.0.1 -i --tun-type gue --tun-port 1", "-A -t 010.1:http -b sh-port,, -s sh",
		"--persistent= -- -", "-Z -f 4294967295"} {
		f.Add(line, "-A -t 1.1.1.1:1\nipvsadm -Ln\n# x\n")
	}
	f.Add("-R", "-A -t 1.1.1.1:1 -p\r\n-R\n")
	f.Fuzz(func(t *testing.T, line, in string) {
		b := newFake()
		for _, args := range [][]string{strings.Split(line, " "), {"-R"}, {"-Ln"}, {"-S"}} {
			c := run(t, b, in, args...)
			if c.rc != ExitOK && c.rc != ExitMissing && c.rc != ExitUsage && c.rc != ExitRefused {
				t.Fatalf("%q: exit code %d", args, c.rc)
			}
		}
	})
}
