package director

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// freeAddrs returns two addresses that nobody listened at a moment ago, of hosts that no other test listens at.
func freeAddrs(t *testing.T) (out [2]netip.AddrPort) {
	t.Helper()
	for i, host := range []string{"127.0.77.1", "127.0.77.2"} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out[i] = netip.MustParseAddrPort(l.Addr().String())
	}
	return out
}

func fetch(addr netip.AddrPort) (string, error) {
	resp, err := http.Get("http://" + addr.String() + "/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(body)), err
}

func saying(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func wantSite(t *testing.T, addr netip.AddrPort, want string) {
	t.Helper()
	if got, err := fetch(addr); err != nil || got != want {
		t.Errorf("at %s: got %q, %v, want %q", addr, got, err, want)
	}
}

func TestASiteFollowsItsAddress(t *testing.T) {
	s := &site{name: "metrics", log: slog.New(slog.DiscardHandler)}
	defer s.close()
	free := freeAddrs(t)
	first, second := free[0], free[1]
	step := func(addr netip.AddrPort, text string) {
		t.Helper()
		m, err := s.prepare(addr)
		if err != nil {
			t.Fatal(err)
		}
		m.commit(saying(text))
	}
	step(first, "a")
	wantSite(t, first, "200 a")
	step(first, "b")
	wantSite(t, first, "200 b")
	m, err := s.prepare(second)
	if err != nil {
		t.Fatal(err)
	}
	m.cancel()
	if _, err := fetch(second); err == nil {
		t.Error("it listens at an address that was given up")
	}
	step(second, "c")
	wantSite(t, second, "200 c")
	if _, err := fetch(first); err == nil {
		t.Error("it still serves at the old address")
	}
	step(netip.AddrPort{}, "")
	if _, err := fetch(second); err == nil {
		t.Error("it serves although it is off")
	}
}

func TestAReloadMovesTheMetricsOrChangesNothing(t *testing.T) {
	d := &director{Node: newTestNode(t), log: slog.New(slog.DiscardHandler), opt: Options{Config: fileOf(t, baseFile)}}
	d.openSight()
	defer d.sight.close()
	addr := freeAddrs(t)[0]
	listen := func(a netip.AddrPort) string { return fmt.Sprintf("[metrics]\nlisten = %q\n", a) }
	if _, err := d.loadAll(fileOf(t, baseFile+listen(addr))); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.Get("http://" + addr.String() + "/other"); err != nil || resp.StatusCode != 404 {
		t.Errorf("/other: got %v, %v", resp, err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := netip.MustParseAddrPort(taken.Addr().String())
	generation := d.generation
	_, err = d.loadAll(fileOf(t, baseFile+listen(other), "10.0.0.1\"\n", "10.0.0.1\"\nweight = 9\n"))
	if err == nil || !strings.Contains(err.Error(), "[metrics]: listen tcp") || d.generation != generation {
		t.Errorf("generation %d -> %d, got %v", generation, d.generation, err)
	}
	if d.sight.metrics.addr != addr {
		t.Errorf("it moved to %s", d.sight.metrics.addr)
	}
}
