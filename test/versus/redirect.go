package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"ulvs/bench/site"
	"ulvs/packet"
	"ulvs/test/lab"
)

// xdpRedirect is the limit: DR by an XDP program in the kernel, without sessions.
func xdpRedirect() contender {
	return contender{
		name: "XDP redirect (limit)", targets: vip(func(a *lab.Addresses) lab.Dual { return a.DR }),
		start: startRedirect,
	}
}

func startRedirect(_ context.Context, s *site.Site) (running, error) {
	var u undo
	if err := u.address(s, s.Addresses().DR); err != nil { // the kernel answers ARP for it
		return running{}, err
	}
	var objs redirectObjects
	if err := loadRedirectObjects(&objs, nil); err != nil {
		return running{}, errors.Join(fmt.Errorf("load redirect: %w", err), u.run())
	}
	u.add(objs.Close)
	// What is redirected to a veth is taken by its other end only with NAPI there, which GRO turns on.
	if err := s.Shell("sw1", "ethtool", "-K", "d1-s0", "gro", "on"); err != nil {
		return running{}, errors.Join(err, u.run())
	}
	u.add(func() error { return s.Shell("sw1", "ethtool", "-K", "d1-s0", "gro", "off") })
	if err := configureRedirect(s, &objs); err != nil {
		return running{}, errors.Join(err, u.run())
	}
	for _, link := range []string{"c0", "s0"} { // a port that is redirected to has to have a program, too
		if err := setXDP(s, link, objs.Redirect.FD()); err != nil {
			return running{}, errors.Join(err, u.run())
		}
		u.add(func() error { return setXDP(s, link, -1) })
	}
	return running{stop: u.run, carried: func() (sum uint64, err error) {
		var each []uint64
		err = objs.Sent.Lookup(uint32(0), &each)
		for _, n := range each {
			sum += n
		}
		return sum, err
	}}, nil
}

func setXDP(s *site.Site, link string, fd int) error {
	return s.Do("d1", func() error {
		dev, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.LinkSetXdpFd(dev, fd)
	})
}

func configureRedirect(s *site.Site, objs *redirectObjects) error {
	a := s.Addresses()
	c := redirectSettings{Reals: uint32(len(a.Reals))}
	c.Vip = packet.WireV4(a.DR.IPv4)
	c.StickyPort = packet.WirePort(lab.PortIperf)
	own, err := s.MAC("d1", "s0")
	if err != nil {
		return err
	}
	copy(c.Source[:], own)
	for i, r := range a.Reals {
		mac, err := s.MAC(r.Name, "e0")
		if err != nil {
			return err
		}
		copy(c.Macs[i][:], mac)
	}
	err = s.Do("d1", func() error {
		dev, err := netlink.LinkByName("s0")
		if err == nil {
			c.Link = uint32(dev.Attrs().Index)
		}
		return err
	})
	if err != nil {
		return err
	}
	return objs.Config.Update(uint32(0), &c, ebpf.UpdateAny)
}
