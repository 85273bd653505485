package sched_test

import (
	"fmt"
	"net/netip"

	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// A service of three real servers, scheduled as IPVS would: the newest first,
// then by sessions over weight.
func Example() {
	s, err := sched.New("wlc", 0, sched.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	loads := map[lvs.DestID]*lvs.Load{}
	var list []lvs.Destination
	for id := lvs.DestID(3); id > 0; id-- { // newest first
		loads[id] = new(lvs.Load)
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(id)})
		list = append(list, lvs.Destination{ID: id, Addr: addr, Port: 80, Weight: int32(4 - id), Load: loads[id]})
	}
	if err := s.Update(list); err != nil {
		fmt.Println(err)
		return
	}
	var flow packet.Tuple
	for range 6 {
		if id, ok := s.Pick(&flow, 0); ok {
			loads[id].Bind(true)
			fmt.Println(id)
		}
	}
	_, err = sched.New("wcl", 0, sched.Options{})
	fmt.Println(err)
	// Output:
	// 3
	// 2
	// 1
	// 1
	// 2
	// 1
	// unknown scheduler "wcl" (did you mean wlc?)
}
