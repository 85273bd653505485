package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Capturer is a Backend that shows frames. Its methods are called concurrently.
type Capturer interface {
	// Capture writes frames as pcapng until they are as many as were asked for, the time is over, ctx ends or
	// StopCapture is called. One capture runs at a time. An error before the first byte is a refusal.
	Capture(ctx context.Context, q CaptureQuery, w io.Writer) (CaptureCounts, error)
	// StopCapture ends the capture that runs, which completes its file. False: none runs.
	StopCapture() bool
}

// CaptureQuery says which frames to show.
type CaptureQuery struct {
	Filter  string // in tcpdump's language; empty: all
	Service string // as Service.Name names it; empty: all
	Drops   bool   // only frames that are given up
	Count   int    // end after so many; 0: no limit
	Snaplen int    // bytes of a frame; 0: all
	Seconds int    // end after so many; 0: no limit
}

// CaptureCounts are the end of a capture.
type CaptureCounts struct {
	Taken uint64 // frames that the filter took
	Lost  uint64 // of those: the reader was too slow
}

// Names of the query parameters, and of the trailers that follow the file.
const (
	paramFilter    = "filter"
	paramDrops     = "drops"
	paramCount     = "count"
	paramSnaplen   = "snaplen"
	paramSeconds   = "seconds"
	trailerTaken   = "Ulvs-Capture-Taken"
	trailerLost    = "Ulvs-Capture-Lost"
	captureTimeout = 10 * time.Second // to take what is written
)

var errNoCapturer = errors.New("this director shows no frames")

// routeCapture adds the paths of captures. Frames are other people's: only root sees them.
func (s *Server) routeCapture(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/capture", s.asCapturer(s.capture))
	mux.HandleFunc("DELETE /v1/capture", s.asCapturer(func(w http.ResponseWriter, _ *http.Request, c Capturer) {
		if !c.StopCapture() {
			s.refuse(w, http.StatusConflict, errors.New("no capture runs"))
			return
		}
		s.answer(w, http.StatusOK, struct{}{})
	}))
	mux.HandleFunc("/v1/capture", s.onlyMethod(http.MethodGet))
}

func (s *Server) asCapturer(h func(w http.ResponseWriter, r *http.Request, c Capturer)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, ok := s.backend.(Capturer)
		switch {
		case !ok:
			s.refuse(w, http.StatusNotImplemented, errNoCapturer)
		case !s.mayChange(r):
			s.refuseErrno(w, http.StatusForbidden,
				errors.New("only root and the group "+GroupAdmin+" may see frames"), syscall.EPERM)
		default:
			h(w, r, c)
		}
	}
}

// capture streams the file. Its counts follow it as trailers.
func (s *Server) capture(w http.ResponseWriter, r *http.Request, c Capturer) {
	q, err := captureQueryOf(r.URL.Query())
	if err != nil {
		s.refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Trailer", trailerTaken+", "+trailerLost)
	w.Header().Set("Content-Type", "application/x-pcapng")
	out := &flushing{w: w, control: http.NewResponseController(w)}
	counts, err := c.Capture(r.Context(), q, out)
	switch {
	case err != nil && !out.begun:
		w.Header().Del("Trailer")
		s.refuse(w, http.StatusConflict, err)
	case err != nil:
		panic(http.ErrAbortHandler) // net/http's way to cut the answer off; it recovers this
	default:
		w.Header().Set(trailerTaken, strconv.FormatUint(counts.Taken, 10))
		w.Header().Set(trailerLost, strconv.FormatUint(counts.Lost, 10))
	}
}

// flushing writes through at once, to a client that reads.
type flushing struct {
	w       io.Writer
	control *http.ResponseController
	begun   bool
}

// Write sends b.
func (f *flushing) Write(b []byte) (int, error) {
	f.begun = true
	_ = f.control.SetWriteDeadline(time.Now().Add(captureTimeout)) // a test's writer has none
	n, err := f.w.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

func (q *CaptureQuery) values() url.Values {
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	drops := ""
	if q.Drops {
		drops = "1"
	}
	return encode(paramFilter, q.Filter, paramService, q.Service, paramDrops, drops, paramCount, number(q.Count),
		paramSnaplen, number(q.Snaplen), paramSeconds, number(q.Seconds))
}

func captureQueryOf(v url.Values) (CaptureQuery, error) {
	in := newQuery(v, paramFilter, paramService, paramDrops, paramCount, paramSnaplen, paramSeconds)
	q := CaptureQuery{
		Filter: v.Get(paramFilter), Service: v.Get(paramService), Drops: in.count(paramDrops) != 0,
		Count: in.count(paramCount), Snaplen: in.count(paramSnaplen), Seconds: in.count(paramSeconds),
	}
	return q, in.err
}

// Capture copies a capture to w until it ends. When ctx ends the director is asked to complete the file.
func (c *Client) Capture(ctx context.Context, q CaptureQuery, w io.Writer) (counts CaptureCounts, err error) {
	asked, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	resp, err := c.response(asked, http.MethodGet, "/v1/capture", q.values())
	if err != nil {
		return counts, err
	}
	defer resp.Body.Close()
	defer context.AfterFunc(ctx, func() { c.stopCapture(cancel) })()
	if _, err = io.Copy(w, resp.Body); err != nil {
		return counts, fmt.Errorf("the capture is cut off: %w", err)
	}
	_, err1 := fmt.Sscan(resp.Trailer.Get(trailerTaken), &counts.Taken)
	_, err2 := fmt.Sscan(resp.Trailer.Get(trailerLost), &counts.Lost)
	if err1 != nil || err2 != nil {
		return counts, errors.New("the capture is cut off: its counts are missing")
	}
	return counts, nil
}

// stopCapture asks for the end; if that fails the connection is cut.
func (c *Client) stopCapture(cut func()) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	resp, err := c.response(ctx, http.MethodDelete, "/v1/capture", nil)
	if err != nil {
		cut()
		return
	}
	resp.Body.Close()
}
