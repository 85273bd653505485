package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// The notes that ulvs began with (最强lvs总结, "the strongest LVS summary") watch a director with the lines below.
// They run here as they stand there, with our ipvsadm first in PATH, against live traffic.

// documentRates stands under 分析rate ("analysing rates"), wrapped where it is wrapped there.
const documentRates = `ipvsadm -ln --rate | grep TCP | sort -k6rn | head; ipvsadm -ln --rate | grep TCP
| sort -k6rn | awk '{sum+= $6} END {print sum}'; ipvsadm -ln --rate | grep
TCP | sort -k6rn | head > bps_top; for IP in $(cat bps_top | cut -d' ' -f3 | cut -d':'
-f1); do ip -4 addr | grep --color=auto $IP/; done`

// documentTable is what it sees with two clients of a UDP service with persistence 360:
// 通过ipvsadm -lcn看到如下信息 ("ipvsadm -lcn shows").
const documentTable = `[root@LVS1 ~]# ipvsadm -lcn
IPVS connection entries
pro expire state      source          virtual         destination
UDP 04:59  UDP          192.168.1.152:42433 192.168.1.160:5000 192.168.1.142:5000
UDP 04:59  UDP          192.168.1.151:34127 192.168.1.160:5000 192.168.1.143:5000
UDP 05:56  UDP          192.168.1.152:0    192.168.1.160:5000 192.168.1.142:5000
UDP 05:52  UDP          192.168.1.151:0    192.168.1.160:5000 192.168.1.143:5000
`

// console runs shell lines where a director is, with our ipvsadm first in PATH.
type console struct {
	tb  testing.TB
	lab *lab.Lab
	dir string
	env []string
}

func newConsole(tb testing.TB, l *lab.Lab) *console {
	tb.Helper()
	dir := tb.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink(binary, filepath.Join(bin, "ipvsadm"))); err != nil {
		tb.Fatal(err)
	}
	return &console{tb, l, dir, append(os.Environ(), "LC_ALL=C", "PATH="+bin+":"+os.Getenv("PATH"),
		"ULVS_SOCKET="+l.ControlSocket("d1"))}
}

// run runs a line, its wraps undone, and returns what it printed.
func (c *console) run(line string) string {
	c.tb.Helper()
	cmd := c.lab.Command("d1", "sh", "-c", strings.ReplaceAll(line, "\n", " "))
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = &out, &complaint, c.env, c.dir
	if err := cmd.Run(); err != nil || complaint.Len() > 0 {
		c.tb.Fatalf("$ %s\n%v: %s", line, err, &complaint)
	}
	return out.String()
}

func TestTheDocumentsRatePipelineRunsUnchanged(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-doc"})
	start(t, l, lab.ConfigOptions{Family: 4, Extra: `vip_mode = "netlink"`})
	c := newConsole(t, l)
	ctx, cancel := context.WithCancel(context.Background())
	var traffic sync.WaitGroup
	defer traffic.Wait()
	defer cancel()
	for i, m := range methods { // each with another rate
		traffic.Go(func() {
			for ctx.Err() == nil {
				labtest.Load(t, l, lab.LoadOptions{
					Kind: lab.KindHTTP, Target: target(l, m, false, lab.PortHTTP), Connections: 30 * (i + 1),
				})
			}
		})
	}
	var seen rates
	testutil.Await(t, "rates of all methods", func() bool {
		seen = parseRates(t, c.run(documentRates))
		busy := 0
		for _, r := range seen.top {
			if r.bps > 0 {
				busy++
			}
		}
		return busy >= len(methods) && seen.sum > 0
	})
	seen.check(t, 10) // services: head shows ten, and there are ten
}

// rates is what documentRates printed.
type rates struct {
	top   []rate
	sum   int
	addrs []string
}

type rate struct {
	vip netip.AddrPort
	bps int // bytes from clients per second
}

var rateRow = regexp.MustCompile(`^TCP  (\S+) +\d+ +\d+ +\d+ +(\d+) +\d+$`)

func parseRates(tb testing.TB, text string) (r rates) {
	tb.Helper()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if m := rateRow.FindStringSubmatch(line); m != nil {
			bps, _ := strconv.Atoi(m[2]) // digits
			r.top = append(r.top, rate{netip.MustParseAddrPort(m[1]), bps})
			continue
		}
		if n, err := strconv.Atoi(line); err == nil {
			r.sum = n
			continue
		}
		r.addrs = append(r.addrs, strings.TrimSpace(line))
	}
	return r
}

// check wants n services by falling rate, and for each the line of "ip addr" with its VIP.
func (r *rates) check(tb testing.TB, n int) {
	tb.Helper()
	if len(r.top) != n || len(r.addrs) != n {
		tb.Fatalf("%d services and %d addresses, want %d: %+v", len(r.top), len(r.addrs), n, r)
	}
	if !slices.IsSortedFunc(r.top, func(a, b rate) int { return b.bps - a.bps }) {
		tb.Errorf("not by falling rate: %+v", r.top)
	}
	known := map[string]bool{}
	for _, s := range r.top {
		known[s.vip.Addr().String()] = true
	}
	for _, line := range r.addrs {
		f := strings.Fields(line)
		if addr, _, ok := strings.Cut(f[1], "/"); f[0] != "inet" || !ok || !known[addr] {
			tb.Errorf("ip addr shows %q, no VIP of %v", line, known)
		}
	}
}

// connection is a row of -lcn.
type connection struct {
	expire, client, vip, real string
}

func (c *console) connections() (list []connection) {
	c.tb.Helper()
	for _, line := range strings.Split(c.run("ipvsadm -lcn"), "\n") {
		if f := strings.Fields(line); len(f) == 6 && f[0] == "UDP" {
			list = append(list, connection{f[1], f[3], f[4], f[5]})
		}
	}
	return list
}

func expireOf(list []connection, client string) string {
	for _, c := range list {
		if c.client == client {
			return c.expire
		}
	}
	return ""
}

// TestTheDocumentsTableLive: two clients of a UDP service with persistence 360, the second four seconds after the
// first. While they send, their sessions stay at five minutes, and the entries of port 0 count down from six.
func TestTheDocumentsTableLive(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-doctab"})
	start(t, l, lab.ConfigOptions{Family: 4, Methods: []lvs.Method{lvs.MethodDR}, Extra: `vip_mode = "netlink"`})
	c := newConsole(t, l)
	a := l.Addresses()
	vip := netip.AddrPortFrom(a.DR.IPv4, 5000)
	c.run(fmt.Sprintf("ipvsadm -A -u %s -s rr -p 360", vip))
	for _, r := range a.Reals[:2] {
		c.run(fmt.Sprintf("ipvsadm -a -u %s -r %s:5000 -g", vip, r.Addr.IPv4))
		echo(t, l, r.Name, vip)
	}
	if text := c.run("ipvsadm -l --timeout"); text != "Timeout (tcp tcpfin udp): 900 120 300\n" {
		t.Errorf("ipvsadm -l --timeout prints %q", text)
	}
	first := netip.AddrPortFrom(a.Clients[1].IPv4, 34127)
	second := netip.AddrPortFrom(a.Clients[0].IPv4, 42433)
	template := func(client netip.AddrPort) string { return client.Addr().String() + ":0" }
	firstHeard := talk(t, l, first, vip)
	testutil.Await(t, "first client's entry at 05:56", func() bool {
		left := expireOf(c.connections(), template(first))
		return left != "" && left <= "05:56" // a busy machine may have looked away
	})
	secondHeard := talk(t, l, second, vip)
	var list []connection
	testutil.Await(t, "the entries at 05:52 and 05:56, both sessions renewed", func() bool {
		list = c.connections()
		one, two := expireOf(list, template(first)), expireOf(list, template(second))
		return one != "" && one <= "05:52" && two > one && two <= "06:00" &&
			expireOf(list, first.String()) >= "04:58" && expireOf(list, second.String()) >= "04:58"
	})
	of := map[string]int{second.String(): 0, first.String(): 1, template(second): 0, template(first): 1}
	for client, real := range of {
		row := connection{expireOf(list, client), client, vip.String(), a.Reals[real].Addr.IPv4.String() + ":5000"}
		if !slices.Contains(list, row) {
			t.Errorf("no row %+v in %+v", row, list)
		}
	}
	if rows := strings.Count(documentTable, ":5000 "); len(list) != rows {
		t.Errorf("%d rows, the document's table has %d: %+v", len(list), rows, list)
	}
	testutil.Await(t, "answers to both clients", func() bool { return firstHeard.Load() > 0 && secondHeard.Load() > 0 })
}

// echo answers datagrams to the VIP on a real server until the test ends.
func echo(tb testing.TB, l *lab.Lab, server string, vip netip.AddrPort) {
	tb.Helper()
	var conn net.PacketConn
	err := l.Do(server, func() (err error) {
		conn, err = net.ListenPacket("udp4", vip.String())
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(b[:n], from) // the client asks again
		}
	}()
}

// talk sends a datagram five times a second from a client's address until the test ends, and counts answers.
func talk(tb testing.TB, l *lab.Lab, client, vip netip.AddrPort) (answers *atomic.Int64) {
	tb.Helper()
	var conn net.Conn
	err := l.Do("c1", func() (err error) {
		conn, err = (&net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(client)}).Dial("udp4", vip.String())
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	done, stop := make(chan struct{}), make(chan struct{})
	answers = &atomic.Int64{}
	tb.Cleanup(func() {
		close(stop)
		<-done
		_ = conn.Close()
	})
	go func() {
		defer close(done)
		b := make([]byte, 100)
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
			_, _ = conn.Write([]byte("hello"))
			_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if n, err := conn.Read(b); err == nil && n == 5 {
				answers.Add(1)
			}
		}
	}()
	return answers
}
