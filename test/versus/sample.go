package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"ulvs/bench/load"
	"ulvs/bench/measure"
	"ulvs/bench/site"
	"ulvs/bench/tcp"
	"ulvs/test/lab"
)

// Names of the metrics.
const (
	newConns = "new conn"
	requests = "requests"
	udpRate  = "UDP"
	bulkRate = "bulk"
)

// visit is one contender's turn of a round.
type visit struct {
	*race
	c   *contender
	r   *running
	row *measure.Row
	ops int // operations so far, each of which was at least a frame
}

// measure takes one sample of everything.
func (v *visit) measure(ctx context.Context) error {
	for _, step := range []func(context.Context) error{v.connections, v.requests, v.latency, v.datagrams, v.bulk} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%s: %w", v.c.name, err)
		}
	}
	return nil
}

// tries is how often a client that got no answer at all is run again: on a busy machine a slice may pass so.
const tries = 5

// client drives the contender, and returns the CPU seconds that it took.
func (v *visit) client(ctx context.Context, mode load.Mode, parallel int) (r *load.Report, used float64, err error) {
	args := tcp.ClientArgs(v.site, load.Options{
		Targets: v.c.targets(v.site), Mode: mode, Parallel: parallel, Duration: v.slice,
	})
	for range tries {
		r = &load.Report{}
		before := measure.Work()
		err = v.site.Run(ctx, "c1", r, args...)
		used = measure.Work() - before
		v.ops += r.Ops
		if err != nil || r.Ops > 0 {
			return r, used, err
		}
	}
	return r, used, fmt.Errorf("nothing was answered: %d failed: %v", r.Failed, r.Errors)
}

func (v *visit) connections(ctx context.Context) error {
	r, used, err := v.client(ctx, load.Connect, clients)
	if err != nil {
		return err
	}
	v.row.Add(newConns, "/s", measure.More, float64(r.Ops)/r.Seconds)
	v.row.Add("cpu/conn", "us", measure.Less, used*1e6/float64(r.Ops))
	v.row.Add("failed", "", measure.Less, float64(r.Failed))
	return nil
}

func (v *visit) requests(ctx context.Context) error {
	r, used, err := v.client(ctx, load.Request, clients)
	if err != nil {
		return err
	}
	v.row.Add(requests, "/s", measure.More, float64(r.Ops)/r.Seconds)
	v.row.Add("cpu/request", "us", measure.Less, used*1e6/float64(r.Ops))
	return nil
}

// latency is that of one request at a time.
func (v *visit) latency(ctx context.Context) error {
	r, _, err := v.client(ctx, load.Request, 1)
	if err != nil {
		return err
	}
	v.row.Add("p50", "us", measure.Less, r.Latency.P50)
	v.row.Add("p99", "us", measure.Less, r.Latency.P99)
	v.row.Add("p99.9", "us", measure.Less, r.Latency.P999)
	return nil
}

// Of the search for the highest rate without loss.
const (
	udpLow      = 10_000 // datagrams per second
	udpHigh     = 640_000
	udpSteps    = 6
	udpFlows    = 64
	udpSlice    = 400 * time.Millisecond
	udpLoss     = 0.001 // that still counts as none
	udpSteady   = 30_000
	udpPayload  = 18 // 60 bytes of IP and Ethernet
	settleLimit = 300 * time.Millisecond
)

// datagrams searches the highest rate at no loss, and takes the CPU time at a rate that all can carry.
func (v *visit) datagrams(ctx context.Context) error {
	if v.c.noUDP {
		return nil
	}
	low, high := float64(udpLow), float64(udpHigh)
	best := 0.0
	for range udpSteps {
		rate := sqrt(low * high)
		got, lost, _, err := v.send(ctx, int(rate), udpSlice)
		if err != nil {
			return err
		}
		if lost <= udpLoss {
			best, low = max(best, got), rate
		} else {
			high = rate
		}
		if lost <= udpLoss && got < 0.9*rate {
			break // the sender cannot do more
		}
	}
	v.row.Add(udpRate, "/s", measure.More, best)
	got, _, used, err := v.send(ctx, udpSteady, v.slice)
	if err == nil && got > 0 {
		v.row.Add("cpu/datagram", "us", measure.Less, used*1e6/(got*v.slice.Seconds()))
	}
	return err
}

// send sends at a rate and returns the rate at which datagrams arrived, the share that was lost, and the CPU time.
func (v *visit) send(ctx context.Context, rate int, d time.Duration) (got, lost, used float64, err error) {
	args := []string{
		"send", "--rate", fmt.Sprint(rate), "--flows", fmt.Sprint(udpFlows), "--size", fmt.Sprint(udpPayload),
		"--time", d.String(),
	}
	for _, t := range v.c.targets(v.site) {
		args = append(args, t.String())
	}
	before, err := v.site.UDPArrived()
	if err != nil {
		return 0, 0, 0, err
	}
	r, cpu := &load.SendReport{}, measure.Work()
	if err := v.site.Run(ctx, "c1", r, args...); err != nil {
		return 0, 0, 0, err
	}
	var arrived uint64
	for limit := time.Now().Add(settleLimit); ; time.Sleep(10 * time.Millisecond) {
		now, err := v.site.UDPArrived()
		if err != nil {
			return 0, 0, 0, err
		}
		arrived = now - before
		if arrived >= uint64(r.Sent) || time.Now().After(limit) {
			break
		}
	}
	used = measure.Work() - cpu
	v.ops += int(arrived)
	return float64(arrived) / r.Seconds, 1 - float64(arrived)/float64(max(r.Sent, 1)), used, nil
}

// bulk is one stream of iperf3.
func (v *visit) bulk(ctx context.Context) error {
	to := netip.AddrPortFrom(v.c.targets(v.site)[0].Addr(), lab.PortIperf)
	cmd := v.site.Command("c1", "iperf3", "-J", "-c", to.Addr().String(), "-p", fmt.Sprint(to.Port()),
		"-t", fmt.Sprint(max(v.slice.Seconds(), 1)), "--connect-timeout", "30000")
	before := measure.Work()
	out, err := cmd.Output()
	used := measure.Work() - before
	var r struct {
		End struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
				Bytes         float64 `json:"bytes"`
			} `json:"sum_received"`
		} `json:"end"`
		Error string `json:"error"`
	}
	if jsonErr := json.Unmarshal(out, &r); jsonErr != nil || r.Error != "" || r.End.Received.Bytes == 0 {
		return fmt.Errorf("iperf3 to %s: %v %v %s", to, err, jsonErr, r.Error)
	}
	v.row.Add(bulkRate, "Gbit/s", measure.More, r.End.Received.BitsPerSecond/1e9)
	v.row.Add("cpu/Gbit", "ms", measure.Less, used*1000/(r.End.Received.Bytes*8/1e9))
	return ctx.Err()
}

// serveBulk runs iperf3 on every real server.
func serveBulk(s *site.Site) error {
	for _, r := range s.Addresses().Reals {
		p, err := s.Start(r.Name, "-----", "iperf3", "-s", "--forceflush", "-p", fmt.Sprint(lab.PortIperf))
		if err != nil {
			return err
		}
		s.AtClose(p.Stop)
	}
	return nil
}
