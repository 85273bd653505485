package director

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/lvs"
	"ulvs/packet"
)

// captureBed is a bed whose worker can be captured.
type captureBed struct {
	*bed
	captures captures
	site     captureSite
}

func newCaptureBed(t *testing.T) *captureBed {
	b := &captureBed{bed: newBed(t)}
	b.worker = dataplane.NewWorker(dataplane.Options{
		Queue: &b.wire, Table: b.opt.Table, Snapshots: b.Snapshots(), Seed: 1, Taps: &b.captures.tap,
	})
	b.Serve(b.worker)
	b.replace(service(80, 1))
	b.site = captureSite{
		version: "test", epoch: time.Unix(1000, 0), workers: 1, ports: []string{"c0", "s0"}, snaplen: 1522,
	}
	return b
}

// signalWriter tells when the first bytes come: the capture runs.
type signalWriter struct {
	bytes.Buffer
	begun chan struct{}
}

func (w *signalWriter) Write(b []byte) (int, error) {
	if w.Len() == 0 {
		defer close(w.begun)
	}
	return w.Buffer.Write(b)
}

// start runs a capture; the func waits for its end.
func (b *captureBed) start(t *testing.T, q control.CaptureQuery) (
	*signalWriter, func() (control.CaptureCounts, error),
) {
	t.Helper()
	w := &signalWriter{begun: make(chan struct{})}
	done := make(chan struct{})
	var counts control.CaptureCounts
	var err error
	go func() {
		defer close(done)
		counts, err = b.captures.run(t.Context(), b.site, q, w)
	}()
	<-w.begun
	for b.captures.tap.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	return w, func() (control.CaptureCounts, error) { <-done; return counts, err }
}

func TestACaptureHoldsFramesWithTheirVerdicts(t *testing.T) {
	b := newCaptureBed(t)
	w, wait := b.start(t, control.CaptureQuery{Filter: "tcp port 80", Count: 3})
	b.syn()
	b.wire.in = append(b.wire.in, tcpFrame(2000, packet.TCPAck))
	b.worker.RunOnce(b.now)
	counts, err := wait()
	if err != nil || counts.Lost != 0 || counts.Taken < 3 {
		t.Fatalf("counts %+v, error %v", counts, err)
	}
	file := w.Bytes()
	for _, comment := range []string{
		"received: tx_dr, worker 0", "sent: tx_dr, worker 0", "dropped: drop_no_service, worker 0",
	} {
		if !bytes.Contains(file, []byte(comment)) {
			t.Errorf("no frame with comment %q: %q", comment, file)
		}
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		_, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if at := b.site.epoch.Add(b.now.Duration()); !info.Timestamp.Equal(at) {
			t.Errorf("time %v, want %v", info.Timestamp, at)
		}
	}
	if n != 3 {
		t.Errorf("%d frames, want the three that were asked for", n)
	}
	if b.captures.tap.Load() != nil {
		t.Error("workers still copy")
	}
}

func TestACaptureEndsWhenItIsToldTo(t *testing.T) {
	b := newCaptureBed(t)
	_, wait := b.start(t, control.CaptureQuery{})
	if _, err := b.captures.run(t.Context(), b.site, control.CaptureQuery{}, io.Discard); !errors.Is(err, errCaptureRuns) {
		t.Errorf("a second one: error %v", err)
	}
	if !b.captures.end() {
		t.Error("there was nothing to end")
	}
	if _, err := wait(); err != nil {
		t.Error(err)
	}
	if b.captures.end() {
		t.Error("it ended twice")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.captures.run(ctx, b.site, control.CaptureQuery{}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that is gone: error %v", err)
	}
	if _, err := b.captures.run(t.Context(), b.site, control.CaptureQuery{Filter: "tcp port"}, io.Discard); err == nil {
		t.Error("a bad filter is taken")
	}
}

func TestTheFilterOfAServiceIsThatOfItsAddresses(t *testing.T) {
	nat := service(81, 1)
	nat.Destinations[0].Method, nat.Destinations[0].Port = lvs.MethodNAT, 8080
	marked := service(0, 1)
	marked.Key = lvs.ServiceKey{Addr: netip.IPv4Unspecified(), Mark: 7}
	var services []control.Service
	for _, s := range []lvs.Service{service(80, 1), nat, marked} {
		services = append(services, control.ServiceOf(&s))
	}
	for _, c := range []struct{ service, filter, want string }{
		{"", "udp", "udp"},
		{"tcp 198.18.0.100:80", "", "(host 198.18.0.100 and tcp port 80)"},
		{"tcp 198.18.0.100:80", "less 100", "((host 198.18.0.100 and tcp port 80)) and (less 100)"},
		{"tcp 198.18.0.100:81", "", "(host 198.18.0.100 and tcp port 81) or (host 10.18.1.11 and tcp port 8080)"},
		{"fwm 7", "", "error: a service of a mark"},
		{"tcp 192.0.2.1:80", "", "error: no service"},
		{"tcp 198.18.0.100:80", ") or (tcp", "error: filter, column 1"},
	} {
		got, err := captureFilter(control.CaptureQuery{Service: c.service, Filter: c.filter}, services)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want && !(err != nil && strings.HasPrefix(got, c.want)) {
			t.Errorf("%q and %q: %q, want %q", c.service, c.filter, got, c.want)
		}
	}
}
