package main

import (
	"context"
	"fmt"

	"ulvs/bench/site"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// ulvs is the contender that this is about.
func ulvs(method, io, idle string) contender {
	m, _ := lvs.ParseMethod(method)
	name := "ulvs " + method
	if io != "afxdp" {
		name += ", " + io
	}
	if idle != "auto" {
		name += ", " + idle
	}
	return contender{
		name: name, targets: vip(func(a *lab.Addresses) lab.Dual { return a.VIP(m) }),
		start: func(ctx context.Context, s *site.Site) (running, error) {
			d, err := s.Direct(ctx, "d1", s.Config(lab.ConfigOptions{
				Methods: []lvs.Method{m}, Family: 4, IO: io, Extra: fmt.Sprintf("idle = %q", idle),
			}))
			if err != nil {
				return running{}, err
			}
			return running{stop: d.Stop, pids: d.Family(), carried: func() (uint64, error) {
				frames, _, err := d.Carried(ctx)
				return frames, err
			}}, nil
		},
	}
}
