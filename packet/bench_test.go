package packet

import "testing"

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"tcp4", tcp4().frame()},
		{"udp4", udp4().frame()},
		{"tcp4_vlan", tcp4().tagged(7).frame()},
		{"tcp4_options", tcp4().options(1, 1, 1, 1).frame()},
		{"tcp6", tcp6().frame()},
		{"udp6", udp6().frame()},
		{"icmp4", icmp4(ICMPEchoRequest).frame()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var p Parsed
			for b.Loop() {
				if Parse(c.frame, &p) != ErrNone {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkSum1500(b *testing.B) {
	buf := make([]byte, 1500)
	b.SetBytes(1500)
	for b.Loop() {
		_ = Sum(buf, 0)
	}
}

func BenchmarkDelta(b *testing.B) {
	c := Checksum(0x1234)
	for b.Loop() {
		c = c.Apply(Delta(0).Change64(1, 2).Change32(3, 4))
	}
	_ = c
}
