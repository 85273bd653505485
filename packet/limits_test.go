package packet

import (
	"os/exec"
	"regexp"
	"testing"
)

// The largest packets that TotalLen can hold, and the first that it cannot.
func TestTheLargestPackets(t *testing.T) {
	for _, c := range []struct {
		name    string
		k       pkt
		payload int // bytes of L4
		want    Error
	}{
		{"IPv4 of 65535 bytes", udp4(), 65535 - IPv4Len, ErrNone},
		{"IPv6 of 65535 bytes", udp6(), 65535 - IPv6Len, ErrNone},
		{"IPv6 of 65536 bytes", udp6(), 65536 - IPv6Len, ErrIPTotalLength},
		{"IPv6 with the largest payload length", udp6(), 65535, ErrIPTotalLength},
		{"IPv6 of 65536 bytes behind a tag", udp6().tagged(1), 65536 - IPv6Len, ErrIPTotalLength},
	} {
		l4 := make([]byte, c.payload)
		copy(l4, c.k.l4)
		frame := c.k.payload(l4...).frame()
		var p Parsed
		want(t, c.name, Parse(frame, &p), c.want)
		if c.want == ErrNone {
			want(t, c.name+": total length", p.TotalLen, 65535)
		}
		compareWithOracle(t, frame)
	}
}

func TestTrafficClassAndTTLAreRead(t *testing.T) {
	for name, k := range map[string]pkt{"IPv4": tcp4(), "IPv6": tcp6(), "tagged": tcp6().tagged(1), "ICMP": icmp4(8)} {
		k.tos, k.ttl = 0xb9, 3
		var p Parsed
		want(t, name, Parse(k.frame(), &p), ErrNone)
		want(t, name+" class", p.TOS, 0xb9)
		want(t, name+" TTL", p.TTL, 3)
	}
}

// A call would double the price of these; the compiler says what it inlines.
func TestLeavesOfTheHotPathAreInlined(t *testing.T) {
	if testing.Short() {
		t.Skip("asks the compiler, which takes seconds")
	}
	out, err := exec.Command("go", "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Skipf("no Go toolchain to ask: %v\n%s", err, out)
	}
	for _, name := range []string{
		"sumOK", "mayBeMartian", "swap16", "DecTTL", "Fold", "FoldUDP", "PseudoV4", "WirePort",
		"Checksum.Apply", "Delta.Change16", "Delta.Change32", "Delta.Change64",
		"IPv4.TTL", "IPv4.HeaderLen", "IPv4.SetSrcWire", "IPv4.SetChecksum", "IPv6.DecHopLimit", "IPv6.SetDstWire",
		"TCP.SetPortsWire", "TCP.Checksum", "UDP.SetPortsWire", "UDP.SetChecksum", "Ethernet.SetMACs",
		"(*Parsed).V6", "(*Frame).Bytes", "(*Frame).Prepend", "(*Frame).TrimFront",
	} {
		if !regexp.MustCompile(`can inline ` + regexp.QuoteMeta(name) + `\b`).Match(out) {
			t.Errorf("%s is no longer inlined", name)
		}
	}
}
