package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// fakeCapturer writes what it holds, then waits for its end if it is to.
type fakeCapturer struct {
	fakeBackend
	text  string
	err   error
	until chan struct{} // nil: it ends at once
	asked CaptureQuery
}

func (b *fakeCapturer) Capture(ctx context.Context, q CaptureQuery, w io.Writer) (CaptureCounts, error) {
	b.asked = q
	if b.text != "" {
		if _, err := io.WriteString(w, b.text); err != nil {
			return CaptureCounts{}, err
		}
	}
	if b.until != nil {
		select {
		case <-b.until:
		case <-ctx.Done():
			return CaptureCounts{}, ctx.Err()
		}
	}
	return CaptureCounts{Taken: 7, Lost: 2}, b.err
}

func (b *fakeCapturer) StopCapture() bool {
	if b.until == nil {
		return false
	}
	close(b.until)
	return true
}

func TestACaptureComesWithItsCounts(t *testing.T) {
	b := &fakeCapturer{text: "pcapng"}
	c := NewClient(serve(t, b))
	q := CaptureQuery{Filter: "tcp port 80", Service: "tcp 192.0.2.10:80", Drops: true, Count: 5, Snaplen: 96, Seconds: 3}
	var out bytes.Buffer
	counts, err := c.Capture(t.Context(), q, &out)
	if err != nil || counts != (CaptureCounts{7, 2}) || out.String() != "pcapng" {
		t.Errorf("%q, counts %+v, error %v", out.String(), counts, err)
	}
	if !reflect.DeepEqual(b.asked, q) {
		t.Errorf("asked for %+v, want %+v", b.asked, q)
	}
}

// stopper ends a context with the first bytes.
type stopper struct{ stop func() }

func (s *stopper) Write(b []byte) (int, error) {
	s.stop()
	return len(b), nil
}

func TestAnInterruptedCaptureIsCompleted(t *testing.T) {
	b := &fakeCapturer{text: "pcapng", until: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &stopper{stop: cancel}
	counts, err := NewClient(serve(t, b)).Capture(ctx, CaptureQuery{}, out)
	if err != nil || counts != (CaptureCounts{7, 2}) {
		t.Errorf("counts %+v, error %v", counts, err)
	}
}

func TestACaptureThatIsRefusedOrBreaksIsAnError(t *testing.T) {
	b := &fakeCapturer{err: errors.New("another capture runs")}
	if _, err := NewClient(serve(t, b)).Capture(t.Context(), CaptureQuery{}, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "another capture runs") {
		t.Errorf("refused: error %v", err)
	}
	b.text = "pcap"
	if _, err := NewClient(serve(t, b)).Capture(t.Context(), CaptureQuery{}, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "cut off") {
		t.Errorf("broken: error %v", err)
	}
	if _, err := NewClient(serve(t, newFake())).Capture(t.Context(), CaptureQuery{}, io.Discard); err == nil ||
		!strings.Contains(err.Error(), errNoCapturer.Error()) {
		t.Errorf("no capturer: error %v", err)
	}
}

func TestOnlyRootSeesFrames(t *testing.T) {
	s := NewServer(&fakeCapturer{text: "secret"}, slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/capture", nil))
	if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("nobody in particular: %d %s", w.Code, w.Body)
	}
}
