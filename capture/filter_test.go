package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"ulvs/internal/testutil"
)

// program is what tcpdump makes of an expression.
type program struct {
	text string
	raw  []bpf.RawInstruction
}

// programs reads what testdata/record.sh wrote.
func programs(t testing.TB) (list []program) {
	t.Helper()
	f, err := os.Open("testdata/programs.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		p := program{text: scan.Text()}
		scan.Scan()
		n, err := strconv.Atoi(scan.Text())
		if err != nil {
			t.Fatalf("%s: %v", p.text, err)
		}
		for range n {
			var r bpf.RawInstruction
			scan.Scan()
			if _, err := fmt.Sscan(scan.Text(), &r.Op, &r.Jt, &r.Jf, &r.K); err != nil {
				t.Fatalf("%s: %v", p.text, err)
			}
			p.raw = append(p.raw, r)
		}
		list = append(list, p)
	}
	if len(list) < 100 {
		t.Fatalf("%d expressions, want 100 at least", len(list))
	}
	return list
}

// run executes the program as a kernel would.
func (p *program) run(t testing.TB, frame []byte) bool {
	t.Helper()
	list, _ := bpf.Disassemble(p.raw)
	vm, err := bpf.NewVM(list)
	if err != nil {
		t.Fatalf("%s: %v", p.text, err)
	}
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatalf("%s: %v", p.text, err)
	}
	return n > 0
}

// maker makes frames whose values are near what the expressions ask for.
type maker struct{ *rand.Rand }

func pick[T any](m maker, list ...T) T { return list[m.IntN(len(list))] }

func (m maker) frame() []byte {
	b := make([]byte, 14, 200)
	copy(b, pick(m, "\x02\x00\x00\x00\x00\x01", "\xff\xff\xff\xff\xff\xff", "\x33\x33\x00\x00\x00\x01",
		"\x02\x00\x00\x00\x00\x02"))
	copy(b[6:], pick(m, "\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02"))
	for range pick(m, 0, 0, 0, 1, 2) {
		binary.BigEndian.PutUint16(b[len(b)-2:], pick[uint16](m, 0x8100, 0x8100, 0x88a8))
		b = binary.BigEndian.AppendUint16(b, pick[uint16](m, 7, 8, 0x2007))
		b = append(b, 0, 0)
	}
	etherType := pick[uint16](m, 0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8035, uint16(m.IntN(1<<16)))
	binary.BigEndian.PutUint16(b[len(b)-2:], etherType)
	switch etherType {
	case 0x0800:
		b = m.ip4(b)
	case 0x86dd:
		b = m.ip6(b)
	default:
		b = append(b, 0, 1, 8, 0, 6, 4, 0, byte(1+m.IntN(2)), 2, 0, 0, 0, 0, 1)
		b = append(b, m.addr4()...)
		b = append(append(b, 0, 0, 0, 0, 0, 0), m.addr4()...)
	}
	if m.IntN(8) == 0 {
		b = b[:m.IntN(len(b)+1)]
	}
	for m.IntN(4) == 0 && len(b) > 0 {
		b[m.IntN(len(b))] = byte(m.Uint32())
	}
	return b
}

func (m maker) addr4() []byte {
	return netip.MustParseAddr(pick(m, "192.0.2.1", "198.51.100.1", "192.0.2.9", "10.1.2.3", "224.0.0.1")).AsSlice()
}

func (m maker) addr6() []byte {
	return netip.MustParseAddr(pick(m, "2001:db8::1", "2001:db8::2", "2001:db9::1", "ff02::1")).AsSlice()
}

func (m maker) ip4(b []byte) []byte {
	words := pick(m, 5, 5, 6, 15)
	h := make([]byte, 4*words)
	h[0], h[1], h[8] = 0x40|byte(words), byte(m.IntN(2)), pick[byte](m, 1, 4, 5, 60, 64, 65)
	binary.BigEndian.PutUint16(h[6:], pick[uint16](m, 0, 0, 0x4000, 0x2000, 0x2001, 0x1fff))
	h[9] = pick[byte](m, 6, 6, 17, 132, 1, 2, 50, 51, 112, byte(m.IntN(256)))
	copy(h[12:], m.addr4())
	copy(h[16:], m.addr4())
	return m.sized(b, append(h, m.payload(h[9])...), 2)
}

// sized appends an IPv4 packet with its length, which is right mostly.
func (m maker) sized(b, packet []byte, at int) []byte {
	n := len(packet)
	if m.IntN(5) == 0 {
		n += 1 - m.IntN(3)
	}
	binary.BigEndian.PutUint16(packet[at:], uint16(n))
	return append(b, packet...)
}

func (m maker) ip6(b []byte) []byte {
	h := make([]byte, 40)
	h[0], h[1], h[7] = 0x60, byte(m.IntN(256)), pick[byte](m, 1, 63, 64)
	h[6] = pick[byte](m, 6, 17, 58, 132, 44, 0)
	copy(h[8:], m.addr6())
	copy(h[24:], m.addr6())
	proto := h[6]
	if proto == 44 {
		proto = pick[byte](m, 6, 17, 58)
		h = append(h, proto, 0, 0, 0, 0, 0, 0, 1)
	}
	return append(append(b, h...), m.payload(proto)...)
}

func (m maker) payload(proto byte) []byte {
	b := make([]byte, pick(m, 8, 20, 24, 60))
	for i := range b {
		b[i] = byte(m.IntN(4))
	}
	binary.BigEndian.PutUint16(b[0:], pick[uint16](m, 80, 443, 53, 1025, 3868, 75))
	binary.BigEndian.PutUint16(b[2:], pick[uint16](m, 80, 443, 53, 1025, 3868, 75))
	switch {
	case proto == 6 && len(b) >= 20:
		b[12] = pick[byte](m, 0x50, 0x60, 0xf0)
		b[13] = pick[byte](m, 2, 0x12, 0x10, 1, 4, 0x18)
		copy(b[20:], "GET /")
	case proto == 17:
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	case proto == 1 || proto == 58 || proto == 2:
		b[0], b[1] = pick[byte](m, 8, 0, 3, 128, 135, 136, 0x16), pick[byte](m, 0, 4)
	}
	return b
}

// Each expression takes the frames that tcpdump's program takes, in the thousands.
func TestFiltersTakeWhatTcpdumpTakes(t *testing.T) {
	m := maker{testutil.Rand(t)}
	frames := make([][]byte, 3000)
	for i := range frames {
		frames[i] = m.frame()
	}
	for _, p := range programs(t) {
		f, err := Compile(p.text)
		if err != nil {
			t.Errorf("%s: %v", p.text, err)
			continue
		}
		taken, wrong := 0, 0
		for _, frame := range frames {
			want := p.run(t, frame)
			if want {
				taken++
			}
			if got := f.Match(frame, len(frame)); got != want {
				wrong++
				if wrong == 1 {
					t.Errorf("%s: %v, tcpdump %v: %x", p.text, got, want, frame)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d of %d frames wrong", p.text, wrong, len(frames))
		}
		if taken == 0 {
			t.Logf("%s: no frame is taken", p.text)
		}
	}
}

func TestWhatIsNotSupportedIsAnErrorWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"tcp port http":        `filter, column 10, at "http": expected a port from 0 to 65535; names are not looked up`,
		"host www.example.com": `filter, column 6, at "www.example.com": expected an address; names are not looked up`,
		"tcp port 80 and":      `filter, at its end: expected a test like host 192.0.2.1 or tcp port 80`,
		"tcp port 80 udp":      `filter, column 13, at "udp": expected and, or, or the end`,
		"port 70000":           `filter, column 6, at "70000": expected a port from 0 to 65535; names are not looked up`,
		"(tcp":                 `filter, at its end: expected )`,
		"inbound":              `filter, column 1, at "inbound": inbound is not supported: ` + directionShown,
		"mpls 3":               `filter, column 1, at "mpls 3": mpls is not supported`,
		"tcp host 192.0.2.1": `filter, column 10, at "192.0.2.1": ` +
			`tcp (6) goes with ports, not with addresses; write tcp and host`,
		"net 192.0.2.1/24": `filter, column 5, at "192.0.2.1/24": bits are set behind the prefix; give 192.0.2.0/24`,
		"tcp[13:3] = 1":    `filter, column 8, at "3] = 1": expected the size of a field: 1, 2 or 4`,
		"foo[1] = 1": `filter, column 1, at "foo[1] = 1": ` +
			`expected a protocol before [: ether ip ip6 arp tcp udp icmp icmp6 sctp`,
		"len / 0 = 1":          `filter, column 5, at "/ 0 = 1": a division by zero`,
		"ip broadcast":         `filter, column 4, at "broadcast": ip broadcast is not supported`,
		"tcp port 80 ; ls":     `filter, column 13, at "; ls": nothing of the filter language`,
		"vlan 5000":            `filter, column 6, at "5000": expected a VLAN's id from 0 to 4095`,
		"icmp port 80":         `filter, column 11, at "80": icmp has no ports; write tcp, udp, sctp or nothing`,
		"arp host ::1":         `filter, column 10, at "::1": arp has no IPv6 addresses; write ip6 or nothing`,
		"ether host 192.0.2.1": `filter, column 12, at "192.0.2.1": expected a MAC address like 02:00:00:00:00:01`,
	} {
		_, err := Compile(text)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || err.Error() != want {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

func TestTheLengthIsThatOfTheWire(t *testing.T) {
	f, err := Compile("greater 1000")
	if err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 64); !f.Match(b, 1000) || f.Match(b, 999) {
		t.Error("greater 1000 looks at the bytes that are there")
	}
}

// The VM of the other test has no negation.
func TestNumbersAreModulo32Bits(t *testing.T) {
	for _, text := range []string{"len = --60", "-1 > len", "len - 61 = -1", "0 - 1 = 0xffffffff", "1 << 33 = 0"} {
		f, err := Compile(text)
		if err != nil || !f.Match(make([]byte, 60), 60) {
			t.Errorf("%s: error %v, want a frame of 60 bytes taken", text, err)
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	m := maker{testutil.Rand(t)}
	frame := m.frame()
	for _, text := range []string{"", "tcp port 80 or net 2001:db8::/32", "tcp[(tcp[12] & 0xf0) >> 2:4] = 0x47455420"} {
		f, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		testutil.AllocFree(t, func() { f.Match(frame, len(frame)) })
	}
}

// Any text is an error or a filter that any frame can be given to.
func FuzzFilter(f *testing.F) {
	for _, p := range programs(f) {
		f.Add(p.text, []byte(p.text))
	}
	f.Fuzz(func(t *testing.T, text string, frame []byte) {
		filter, err := Compile(text)
		if err != nil {
			return
		}
		got := filter.Match(frame, len(frame))
		if again := filter.Match(frame, len(frame)); again != got || !strings.Contains(filter.String(), text) {
			t.Fatal("the same frame is taken or not")
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	m := maker{rand.New(rand.NewPCG(1, 2))}
	frames := make([][]byte, 256)
	for i := range frames {
		frames[i] = m.frame()
	}
	for _, text := range []string{"tcp port 80", "host 192.0.2.1 and tcp port 80 and tcp[13] & 2 != 0"} {
		f, err := Compile(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			for i := range b.N {
				f.Match(frames[i%256], 100)
			}
		})
	}
}
