package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"ulvs/bench/measure"
	"ulvs/bench/site"
	"ulvs/test/lab"
)

// contender forwards the client's traffic to the real servers, one way or another.
type contender struct {
	name    string
	targets func(*site.Site) []netip.AddrPort // where clients connect; port lab.PortEcho
	start   func(context.Context, *site.Site) (running, error)
	noUDP   bool
	sockets bool // it holds sockets, and so no more than a process may have of them
}

// running is a contender between start and stop.
type running struct {
	stop    func() error
	carried func() (frames uint64, err error) // that it forwarded, by its own counter
	pids    []int                             // its processes, for memory
	kernel  bool                              // the kernel's counter of forwarded packets is its
}

// contenders lists all, the one to compare with first.
func contenders() []contender {
	list := []contender{kernelForwarding(), nftables("nft numgen", "numgen inc"), nftables("nft jhash", jhash),
		nginx(), haproxy(), xdpRedirect()}
	for _, io := range []string{"afxdp", "asavie"} {
		for _, m := range []string{"dr", "nat", "tun"} {
			list = append(list, ulvs(m, io, "auto"))
		}
	}
	return append(list, ulvs("nat", "afxdp", "spin"))
}

// vip is where a VIP's services are.
func vip(pick func(*lab.Addresses) lab.Dual) func(*site.Site) []netip.AddrPort {
	return func(s *site.Site) []netip.AddrPort {
		a := s.Addresses()
		return []netip.AddrPort{netip.AddrPortFrom(pick(&a).IPv4, lab.PortEcho)}
	}
}

// undo collects what has to be taken back, the last first.
type undo []func() error

func (u *undo) add(fn func() error) { *u = append(*u, fn) }

func (u undo) run() error {
	var errs []error
	for i := len(u) - 1; i >= 0; i-- {
		errs = append(errs, u[i]())
	}
	return errors.Join(errs...)
}

// shell runs a command in d1, and has another one run at the end.
func (u *undo) shell(s *site.Site, do, back []string) error {
	if err := s.Shell("d1", do...); err != nil {
		return errors.Join(err, u.run())
	}
	if back != nil {
		u.add(func() error { return s.Shell("d1", back...) })
	}
	return nil
}

// prove fails unless the contender carried at least one frame for every operation, and nobody else did.
func prove(s *site.Site, c *contender, r *running, ops int, before uint64) error {
	frames, err := r.carried()
	if err != nil {
		return err
	}
	kernel, err := s.KernelForwarded("d1")
	if err != nil {
		return err
	}
	if frames < uint64(ops) {
		return fmt.Errorf("%s carried %d frames for %d operations: the figures are not its own", c.name, frames, ops)
	}
	if !r.kernel && kernel > before+uint64(ops/100) {
		return fmt.Errorf("%s: the kernel forwarded %d packets meanwhile: the figures are not its own", c.name, kernel-before)
	}
	return nil
}

// row is the contender's in the result.
func (c *contender) row() measure.Row { return measure.Row{Case: measure.Case("contender", c.name)} }
