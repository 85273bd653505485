package director

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/events"
	"ulvs/health"
	"ulvs/lvs"
)

// manyServices is a file of n services with ten real servers each, all of them checked.
func manyServices(n int) string {
	var b strings.Builder
	b.WriteString("[node]\ninterfaces = [\"eth0\", \"eth1\"]\n")
	for i := range n {
		fmt.Fprintf(&b, "[[service]]\nvip = \"192.0.2.1:%d\"\ncheck = { type = \"tcp\" }\n", i+1)
		for k := range 10 {
			fmt.Fprintf(&b, "[[service.real_server]]\naddress = \"10.%d.%d.%d\"\n", i>>8, i&255, k+1)
		}
	}
	return b.String()
}

// BenchmarkFollow has checks follow the configuration of 10 000 services with ten real servers each:
//
//	load    all of it for the first time
//	reload  what the same file says of health, read anew
//	edit    one weight
func BenchmarkFollow(b *testing.B) {
	const n = 10000
	var files [2]*config.Config
	for i := range files {
		var err error
		if files[i], err = config.Parse("f", []byte(manyServices(n)), config.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	node := loadedNode(b, files[0])
	var keys []lvs.ServiceKey
	for i := range node.services {
		keys = append(keys, node.services[i].Key)
	}
	var c *checks
	first := func() {
		c = newChecks(events.New(events.Options{}), slog.New(slog.DiscardHandler), health.AddressDialer{})
		c.node, node.opt.Configured = node, c.configured
		c.configured(keys)
		c.follow()
	}
	first()
	b.Run("load", func(b *testing.B) {
		for range b.N {
			first()
		}
	})
	b.Run("reload", func(b *testing.B) {
		for i := range b.N {
			node.care = files[(i+1)%2].Care()
			c.follow()
		}
	})
	b.Run("edit", func(b *testing.B) {
		key := keys[n/2]
		e := lvs.Edit{Op: lvs.EditSetDest, Key: key, Dest: node.services[n/2].Destinations[0]}
		for range b.N {
			b.StopTimer()
			e.Dest.Weight = 3 - e.Dest.Weight%2
			if err := node.Edit(&e); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			c.follow()
		}
	})
}

func loadedNode(b *testing.B, file *config.Config) *Node {
	table, err := conntrack.New(conntrack.Options{Bits: 10, Workers: 1, Heap: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = table.Close() })
	n, err := NewNode(NodeOptions{Table: table, Network: twoPorts{}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := n.Load(file); err != nil {
		b.Fatal(err)
	}
	return n
}
