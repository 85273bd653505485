package vrrp

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"ulvs/internal/testutil"
)

// A gateway is found by ARP and by neighbour discovery, and nobody else's answer counts for it.
func TestAGatewayAnswers(t *testing.T) {
	a, b := wire(t)
	for _, v6 := range []bool{false, true} {
		var own, gateway netip.Addr
		must(t, a.ns.Do(func() (err error) { own, err = Source("v0", v6, nil); return err }))
		must(t, b.ns.Do(func() (err error) { gateway, err = Source("v0", v6, nil); return err }))
		var p *Prober
		must(t, a.ns.Do(func() (err error) { p, err = OpenProber("v0", v6); return err }))
		answers := make(chan netip.Addr, 64)
		ended := make(chan error, 1)
		go func() {
			for {
				from, err := p.Answer()
				if err != nil {
					ended <- err
					return
				}
				select {
				case answers <- from:
				default:
				}
			}
		}()
		nobody := gateway.Next().Next()
		testutil.Await(t, "the gateway to answer", func() bool {
			must(t, p.Ask(nobody, own))
			must(t, p.Ask(gateway, own))
			select {
			case from := <-answers:
				if from == nobody {
					t.Fatalf("%s answers, and is not there", nobody)
				}
				return from == gateway
			default:
				return false
			}
		})
		must(t, p.Close())
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if _, err := OpenProber("lo", false); err == nil {
		t.Error("lo is no Ethernet interface, and there is a prober on it")
	}
}
