package realserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// How Watch waits.
const (
	// DefaultInterval is how often Watch looks without being told: sysctls announce nothing.
	DefaultInterval = 10 * time.Second
	// settle lets a restart of the network come to rest, and bounds how often Watch can fight with somebody.
	settle = 200 * time.Millisecond
)

// DefaultConfig is what Watch reads: what Persist was given.
const DefaultConfig = "/etc/ulvs/realserver.json"

// Watch sets up what list says and puts back what goes missing, until ctx ends: an address that a restart
// of the network flushed, a route that went with its interface, a sysctl. It logs each thing it puts back.
// It ends with an error only when it cannot listen to the kernel. ready is called when the first round is over.
func (h Host) Watch(ctx context.Context, list []Config, log *slog.Logger, ready func()) error {
	return h.watch(ctx, watch{host: h, list: list, log: log}, ready, DefaultInterval)
}

func (h Host) watch(ctx context.Context, w watch, ready func(), interval time.Duration) error {
	runtime.LockOSThread() // for its network namespace
	defer runtime.UnlockOSThread()
	changes, err := listen(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	w.round()
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-changes:
			if !wait(ctx, settle) {
				return nil
			}
			drain(changes)
		}
		w.round()
	}
}

// watch is what Watch knows from round to round.
type watch struct {
	host Host
	list []Config
	log  *slog.Logger
	last string // the last complaint, told once
}

// round puts back what is missing.
func (w *watch) round() {
	var errs []error
	for _, c := range w.list {
		steps, err := w.host.Setup(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Method, err))
		}
		for _, s := range steps {
			if s.Did != DidAlready {
				w.log.Warn("put in place", "what", s.What)
			}
		}
	}
	text := ""
	if err := errors.Join(errs...); err != nil {
		text = err.Error()
	}
	if text != "" && text != w.last {
		w.log.Error("cannot set this host up; trying again", "err", text)
	} else if text == "" && w.last != "" {
		w.log.Info("this host is set up again")
	}
	w.last = text
}

// listen tells of changes of links, addresses, routes and rules. Changes that are not read yet are told once.
func listen(ctx context.Context) (<-chan struct{}, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return nil, fmt.Errorf("listen to the kernel's changes of addresses and routes: %w", err)
	}
	context.AfterFunc(ctx, s.Close)
	changes := make(chan struct{}, 1)
	go runListener(ctx, s, changes)
	return changes, nil
}

// runListener reads until the socket is closed. Lost messages (ENOBUFS) are changes too.
func runListener(ctx context.Context, s *nl.NetlinkSocket, changes chan<- struct{}) {
	for ctx.Err() == nil {
		if _, _, err := s.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) && !wait(ctx, settle) {
			return
		}
		select {
		case changes <- struct{}{}:
		default:
		}
	}
}

func drain(changes <-chan struct{}) {
	select {
	case <-changes:
	default:
	}
}

// wait returns false when ctx ended before d was over.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
