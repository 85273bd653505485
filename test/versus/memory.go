package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ulvs/bench/load"
	"ulvs/bench/measure"
	"ulvs/bench/site"
	"ulvs/bench/tcp"
)

// Idle connections: what a process may have of them, and how many processes hold them.
const (
	heldEach = 16_500
	holders  = 6 // 99 000 in all
	proxy    = 9000
)

// idle opens connections, holds them, and takes what the director's processes and the kernel's slabs grew by.
func (v *visit) idle(ctx context.Context) (err error) {
	processes, each := holders, heldEach
	if v.c.sockets || v.quick {
		processes, each = 1, proxy
	}
	slab, rss := slabBytes(), rssBytes(v.r.pids)
	var list []*site.Process
	defer func() {
		for _, p := range list {
			if stop := p.Stop(); err == nil {
				err = stop
			}
		}
	}()
	for range processes {
		args := tcp.ClientArgs(v.site, load.Options{Targets: v.c.targets(v.site), Parallel: each})
		argv := append([]string{v.site.Binary, "bench", "load", "hold"}, args[3:]...) // without "client --mode X"
		p, err := v.site.Start("c1", fmt.Sprint("ready ", each), argv...)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	n := float64(processes * each)
	select { // what opening left behind is given back meanwhile
	case <-time.After(500 * time.Millisecond):
	case <-ctx.Done():
	}
	v.ops += int(n)
	v.row.Add("idle", "conns", measure.More, n)
	v.row.Add("director RSS", "B/conn", measure.Less, float64(rssBytes(v.r.pids)-rss)/n)
	v.row.Add("kernel slab", "B/conn", measure.Less, float64(slabBytes()-slab)/n)
	return nil
}

// Of settle: the servers' sockets that are left, and how long it may take.
const (
	calm       = 200
	calmWithin = 30 * time.Second
)

// settle waits until the servers have seen the end of what was held: until then they and the way to them are busy.
func (v *visit) settle(ctx context.Context) error {
	for limit := time.Now().Add(calmWithin); ; {
		n, err := v.site.TCPSockets()
		if err != nil || n < calm {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%d sockets are left %s after their end", n, calmWithin)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// slabBytes is the kernel's memory in slabs, sockets of both ends included.
func slabBytes() int64 { return kib("/proc/meminfo", "Slab:") }

func rssBytes(pids []int) (sum int64) {
	for _, pid := range pids {
		sum += kib(filepath.Join("/proc", strconv.Itoa(pid), "status"), "VmRSS:")
	}
	return sum
}

func kib(file, name string) int64 {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
