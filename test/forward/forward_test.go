package forward

import (
	"fmt"
	"testing"

	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// forEach runs fn for every method and family.
func forEach(t *testing.T, fn func(t *testing.T, m lvs.Method, v6 bool)) {
	for _, m := range methods {
		for _, v6 := range []bool{false, true} {
			name := fmt.Sprintf("%s-IPv4", m)
			if v6 {
				name = fmt.Sprintf("%s-IPv6", m)
			}
			t.Run(name, func(t *testing.T) { fn(t, m, v6) })
		}
	}
}

func TestEveryMethodServesTCPAndUDP(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-fwd"})
	d := start(t, l, lab.ConfigOptions{})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) { serves(t, l, m, v6) })
	d.proveCarrier(1000)
}

// serves checks HTTP, TCP with payload both ways, UDP, and that all real servers share.
func serves(t *testing.T, l *lab.Lab, m lvs.Method, v6 bool) {
	t.Helper()
	for _, o := range []lab.LoadOptions{
		{Kind: lab.KindHTTP, Target: target(l, m, v6, lab.PortHTTP), Connections: 30, Parallel: 3},
		{Kind: lab.KindHTTP, Target: target(l, m, v6, lab.PortHTTP), Connections: 3, Download: 1 << 20},
		{Kind: lab.KindHTTP, Target: target(l, m, v6, lab.PortHTTP), Connections: 3, Upload: 1 << 20},
		{Kind: lab.KindTCP, Target: target(l, m, v6, lab.PortEcho), Connections: 3, Upload: 1 << 20},
		{Kind: lab.KindUDP, Target: target(l, m, v6, lab.PortEcho), Connections: 30, Requests: 3, Upload: 1000},
	} {
		r := labtest.Load(t, l, o)
		if len(r.ByRealServer) != 3 {
			t.Errorf("%s: answers from %v, want all three real servers", o.Kind, r.ByRealServer)
		}
		for name, n := range r.ByRealServer {
			if off := n - r.OK/3; off < -repeats(o) || off > repeats(o) {
				t.Errorf("%s: %s answered %d of %d, rr shares equally", o.Kind, name, n, r.OK)
			}
		}
	}
}

// repeats is how many answers may come from another real server than rr's next. A kernel draws the
// ports of UDP sockets by chance; one that it draws again within minutes is the old session.
func repeats(o lab.LoadOptions) int {
	if o.Kind == lab.KindUDP {
		return 2 * o.Requests
	}
	return 0
}

func TestAThousandConnectionsAtOnce(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-thou"})
	d := start(t, l, lab.ConfigOptions{})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) {
		labtest.Load(t, l, lab.LoadOptions{
			Kind: lab.KindTCP, Target: target(l, m, v6, lab.PortEcho),
			Connections: 1000, Parallel: 1000, Together: true, Requests: 2, Upload: 3000,
		})
	})
	d.proveCarrier(6000)
}

// Replies are hashed to a queue by the kernel on their own, so with two queues about half
// of them arrive at the worker that did not make the session.
func TestRepliesArriveAtTheOtherWorker(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-two", Queues: 2})
	d := start(t, l, lab.ConfigOptions{})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) {
		labtest.Load(t, l, lab.LoadOptions{
			Kind: lab.KindTCP, Target: target(l, m, v6, lab.PortEcho),
			Connections: 200, Parallel: 20, Requests: 2, Upload: 10000,
		})
		labtest.Load(t, l, lab.LoadOptions{
			Kind: lab.KindUDP, Target: target(l, m, v6, lab.PortEcho), Connections: 60, Requests: 3, Upload: 500,
		})
	})
	d.proveCarrier(1000)
	for _, w := range d.status().Workers {
		if w.Frames == 0 {
			t.Errorf("worker %d received nothing", w.ID)
		}
	}
}

func TestNATMapsPorts(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-map"})
	start(t, l, lab.ConfigOptions{Methods: []lvs.Method{lvs.MethodNAT}})
	for _, v6 := range []bool{false, true} {
		labtest.Load(t, l, lab.LoadOptions{
			Kind: lab.KindHTTP, Target: target(l, lvs.MethodNAT, v6, lab.PortMapped), Connections: 6,
		})
	}
}

func TestTunnelsAcrossFamilies(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-cross"})
	d := start(t, l, lab.ConfigOptions{Methods: []lvs.Method{lvs.MethodTUN}, CrossFamily: true})
	for _, v6 := range []bool{false, true} {
		serves(t, l, lvs.MethodTUN, v6)
	}
	d.proveCarrier(300)
}

func TestTheAsavieBackendForwardsToo(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-asavie"})
	d := start(t, l, lab.ConfigOptions{IO: "asavie"})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) { serves(t, l, m, v6) })
	d.proveCarrier(1000)
}

func TestGenericXDPForwardsToo(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-generic"})
	d := start(t, l, lab.ConfigOptions{XDPMode: "generic"})
	forEach(t, func(t *testing.T, m lvs.Method, v6 bool) { serves(t, l, m, v6) })
	d.proveCarrier(1000)
	if mode := d.status().Ports[0].XDPMode; mode != "generic" {
		t.Errorf("the program runs in %s mode", mode)
	}
}
