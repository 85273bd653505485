package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
)

var testTime = time.Unix(1700000000, 123456789)

func testFile(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, Section{
		Application: "ulvs test", Filter: "tcp port 80", Snaplen: 96, Interfaces: []string{"eth0", "eth1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range []Packet{
		{Interface: 0, Data: []byte("a frame of 21 bytes.."), Len: 21, Comment: "tx_dr: forwarded"},
		{Interface: 1, Data: bytes.Repeat([]byte{7}, 96), Len: 1514, Sent: true, Comment: "tx_nat"},
		{Interface: 0, Len: 0},
	} {
		p.Time = testTime.Add(time.Duration(i))
		if err := w.Write(&p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Count(0, testTime, 10, 3); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAFileIsReadByGopacket(t *testing.T) {
	r, err := pcapgo.NewNgReader(bytes.NewReader(testFile(t)), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ iface, captured, length int }{{0, 21, 21}, {1, 96, 1514}, {0, 0, 0}} {
		data, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		if info.InterfaceIndex != want.iface || len(data) != want.captured || info.Length != want.length {
			t.Errorf("packet %d: interface %d, %d of %d bytes; want %v", i, info.InterfaceIndex, len(data), info.Length, want)
		}
		if at := testTime.Add(time.Duration(i)); !info.Timestamp.Equal(at) {
			t.Errorf("packet %d: time %v, want %v", i, info.Timestamp, at)
		}
	}
	iface, err := r.Interface(1)
	if err != nil || iface.Name != "eth1" || iface.Filter != "tcp port 80" || iface.SnapLength != 96 {
		t.Errorf("interface %+v, error %v", iface, err)
	}
}

// blocks cuts a file into blocks and checks their lengths.
func blocks(t *testing.T, b []byte) (list [][]byte) {
	t.Helper()
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint32(b[4:]))
		if n%4 != 0 || n > len(b) || int(binary.LittleEndian.Uint32(b[n-4:])) != n {
			t.Fatalf("block of %d bytes, %d are left", n, len(b))
		}
		list, b = append(list, b[:n]), b[n:]
	}
	return list
}

func TestPacketsCarryCommentsAndDirections(t *testing.T) {
	list := blocks(t, testFile(t))
	if len(list) != 1+2+3+1 {
		t.Fatalf("%d blocks, want a section, two interfaces, three packets and a count", len(list))
	}
	received, sent := list[3], list[4]
	flags := func(v byte) []byte { return []byte{optFlags, 0, 4, 0, v, 0, 0, 0} }
	if !bytes.Contains(received, flags(1)) || !bytes.Contains(received, []byte("\x01\x00\x10\x00tx_dr: forwarded")) {
		t.Errorf("received packet without direction or comment: %q", received)
	}
	if !bytes.Contains(sent, flags(2)) || !bytes.Contains(sent, []byte("\x01\x00\x06\x00tx_nat")) {
		t.Errorf("sent packet without direction or comment: %q", sent)
	}
	if count := list[6]; !bytes.Contains(count, []byte{optLost, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("count without what is lost: %q", count)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left")

func TestAFailingWriterIsReported(t *testing.T) {
	if _, err := NewWriter(fullDisk{}, Section{}); !errors.Is(err, errFull) {
		t.Errorf("error %v, want the writer's", err)
	}
}
