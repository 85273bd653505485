package realserver

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
)

// unpacked is what a director's tunnel has in it: a SYN from 198.18.0.10 to port 9 of 198.18.0.100. Nobody listens
// there: the kernel itself answers what it takes.
var unpacked = []byte{
	0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 18, 0, 10, 198, 18, 0, 100,
	0x13, 0x89, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0x03, 0xe8, 0, 0, 0, 0,
}

// sum is a checksum of 16-bit words in one's complement.
func sum(parts ...[]byte) uint16 {
	var n uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			n += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return ^uint16(n)
}

// standIn makes a tunl0 on a host whose kernel may lack the module: what is written is what it unpacked.
func (b *bed) standIn() (device *os.File) {
	b.t.Helper()
	b.do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		device = os.NewFile(uintptr(fd), device4)
		req, err := unix.NewIfreq(device4)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	})
	b.t.Cleanup(func() { _ = device.Close() })
	return device
}

// counter reads one of the host's, of a pair of lines of names and values.
func (b *bed) counter(file, kind, name string) (value int) {
	b.t.Helper()
	var names []string
	for line := range strings.Lines(b.sh("cat /proc/net/" + file)) {
		f := strings.Fields(line)
		switch {
		case f[0] != kind+":":
		case names == nil:
			names = f
		case slices.Contains(names, name):
			value, _ = strconv.Atoi(f[slices.Index(names, name)])
		}
	}
	return value
}

// The kernel drops what a device without an address unpacks while rp_filter is on, even 2: setup gives tunl0 one.
func TestWhatTunl0UnpacksIsTaken(t *testing.T) {
	b := newBed(t)
	device := b.standIn()
	b.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1; ip neigh add 10.1.1.1 lladdr 02:00:00:00:00:01 dev e0")
	before := b.state()
	frame := slices.Clone(unpacked)
	binary.BigEndian.PutUint16(frame[10:], sum(frame[:20]))
	binary.BigEndian.PutUint16(frame[36:], sum(frame[12:20], []byte{0, 6, 0, 20}, frame[20:]))
	send := func() {
		t.Helper()
		if _, err := device.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{Method: "tun", VIPs: addrs("198.18.0.100"), Decap: DecapKernel}
	b.setup(c)
	b.wantCodes(b.check(c), nil)
	send()
	testutil.Await(t, "an answer to a client", func() bool { return b.counter("snmp", "Tcp", "OutRsts") == 1 })

	b.sh("ip addr del " + tunnelAddress.String() + " dev tunl0")
	send()
	testutil.Await(t, "the kernel to drop it", func() bool {
		return b.counter("netstat", "TcpExt", "IPReversePathFilter") == 1
	})
	found := b.check(c)
	b.wantCodes(found, []string{CodeRPFilter})
	b.followRemedies(c, found)
	send()
	testutil.Await(t, "another answer", func() bool { return b.counter("snmp", "Tcp", "OutRsts") == 2 })
	b.remove()
	b.same(before, "after remove")
}

func TestAJournalNamesNoOtherDeviceForAnAddress(t *testing.T) {
	for link, want := range map[string]bool{"": true, device4: true, "eth0": false} {
		c := change{ID: "x", Kind: kindAddress, Key: "127.73.0.1/32", Link: link}
		if c.valid() != want {
			t.Errorf("%q: valid is %v", link, !want)
		}
	}
}
