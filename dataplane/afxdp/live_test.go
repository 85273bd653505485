package afxdp

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"ulvs/packet"
)

// xdpProgram loads a program of a few instructions.
func xdpProgram(b *testing.B, ins ...asm.Instruction) *ebpf.Program {
	b.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "Apache-2.0", Instructions: ins})
	need(b, "afxdp", err)
	b.Cleanup(func() { p.Close() })
	return p
}

// dropAll puts a program that drops everything on an interface: a free sink.
func dropAll(b *testing.B, i Interface) {
	b.Helper()
	const xdpDrop = 1
	l, err := link.AttachXDP(link.XDPOptions{
		Program: xdpProgram(b, asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()), Interface: i.Index,
	})
	need(b, "afxdp", err)
	b.Cleanup(func() { l.Close() })
}

// flood sends a frame out of an interface as fast as the kernel can, until the
// test ends. It pauses for some milliseconds after every call.
func flood(b *testing.B, i Interface, frame []byte) {
	b.Helper()
	p := xdpProgram(b, asm.Mov.Imm(asm.R1, int32(i.Index)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return())
	here, err := netns.Get()
	if err != nil {
		b.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread dies in the namespace
		err := netns.Set(here)
		for err == nil && !stop.Load() {
			_, err = p.Run(&ebpf.RunOptions{Data: frame, Repeat: 1 << 18, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
		}
		done <- err
	}()
	b.Cleanup(func() {
		stop.Store(true)
		if err := <-done; err != nil {
			b.Errorf("flood: %v", err)
		}
		here.Close()
	})
}

// BenchmarkFlood forwards what a generator in the kernel floods one port with to
// a dropping sink behind the other: veth, copy mode, 64 bytes. The generator
// takes a core and pauses, so this compares changes, not machines.
func BenchmarkFlood(b *testing.B) {
	for _, be := range backends() {
		b.Run(be.name, func(b *testing.B) {
			enterNamespace(b)
			in, out := newWire(b, "a", 1), newWire(b, "b", 1)
			dropAll(b, out.far)
			q := be.openOn(b, attachAll(b, in, out), Options{}, in, out)
			frame := in.udpFrame(testVIP, 1, 2, "sixty-four bytes....")
			flood(b, in.far, frame)
			benchFlood(b, q)
		})
	}
}

func benchFlood(b *testing.B, q testQueue) {
	frames := make([]packet.Frame, 64)
	got, sent, batches := 0, 0, 0
	var busy time.Duration
	for b.Loop() {
		start := time.Now()
		n := q.Recv(frames)
		for i := range frames[:n] {
			frames[i].Port = 1
		}
		got += n
		sent += q.Send(frames[:n])
		if n > 0 {
			batches++
			busy += time.Since(start)
		}
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds()/1e6, "Mframe/s")
	b.ReportMetric(float64(busy.Nanoseconds())/float64(max(sent, 1)), "busy-ns/frame")
	b.ReportMetric(float64(got)/float64(max(batches, 1)), "frames/batch")
	st := q.Stats()
	b.ReportMetric(float64(st[1].Kicks)/float64(max(batches, 1)), "kicks/batch")
	b.ReportMetric(float64(got-sent), "unsent")
}
