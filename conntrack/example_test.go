package conntrack_test

import (
	"fmt"

	"ulvs/conntrack"
	"ulvs/packet"
)

// A worker looks frames up in batches, inserts what is new and marks the batch's end.
func Example() {
	table, err := conntrack.New(conntrack.Options{Bits: 8, Heap: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer table.Close()
	worker, now := table.Worker(0), conntrack.Tick(0)
	timeouts := conntrack.DefaultTimeouts()

	frames := []packet.Parsed{{
		Addr: [4]uint64{0x0801a8c0_0201000a}, L4: 6<<32 | 0x5000<<16 | 0x3930,
		Kind: packet.KindFlow, Proto: 6, TCPFlags: 2,
	}}
	refs := make([]conntrack.Ref, len(frames))
	for range 2 {
		worker.Find(frames, refs)
		if refs[0] == 0 {
			state := conntrack.NextTCP(conntrack.InputOnly, conntrack.TCPNone, frames[0].TCPFlags)
			_, result := worker.Insert(&conntrack.Spec{
				Key:   conntrack.Key{Addr: frames[0].Addr, L4: frames[0].L4},
				State: state, Timeout: timeouts.Of(state),
			}, now)
			fmt.Println(result)
		} else {
			e := table.Entry(refs[0])
			fmt.Println(e.State(), e.Remaining(now).Duration())
		}
		worker.Quiesce()
	}
	table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		fmt.Println(i.Client, "->", i.VIP)
		return true
	})
	// Output:
	// inserted
	// SYN_RECV 1m0s
	// 10.0.1.2:12345 -> 192.168.1.8:80
}
