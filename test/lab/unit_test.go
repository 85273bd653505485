package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
)

func TestThePayloadIsTheSameHoweverItIsRead(t *testing.T) {
	rng := testutil.Rand(t)
	whole, err := io.ReadAll(NewPayload(10000))
	if err != nil || len(whole) != 10000 {
		t.Fatalf("read %d bytes, %v", len(whole), err)
	}
	byBytes, _ := io.ReadAll(iotest.OneByteReader(NewPayload(10000)))
	if !bytes.Equal(whole, byBytes) {
		t.Error("read byte by byte it differs")
	}
	off := int(rng.Uint64() % 9000)
	part := make([]byte, 999)
	fillPayload(part, uint64(off))
	if !bytes.Equal(part, whole[off:off+999]) {
		t.Errorf("filled from byte %d it differs", off)
	}
}

func TestADamagedPayloadIsRefused(t *testing.T) {
	good, _ := io.ReadAll(NewPayload(9000))
	flipped := bytes.Clone(good)
	flipped[8888] ^= 1
	moved := append(append(bytes.Clone(good[:1000]), good[1008:]...), good[1000:1008]...)
	for _, c := range []struct {
		name string
		data []byte
		want string // "" for none
	}{
		{"intact", good, ""},
		{"one bit flipped", flipped, "differs at byte 8888"},
		{"eight bytes moved to the end", moved, "differs at byte 1000"},
		{"cut short", good[:8999], "has 8999 bytes, want 9000"},
		{"too long", append(bytes.Clone(good), 1), "differs at byte 9000"},
	} {
		err := CheckPayload(bytes.NewReader(c.data), 9000)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestEchoesLeaveFromTheAddressTheyWereSentTo(t *testing.T) {
	v4 := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 7, Spec_dst: [4]byte{10, 0, 0, 1}, Addr: [4]byte{198, 18, 0, 100}})
	if got := replySource(v4); !bytes.Equal(got, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{198, 18, 0, 100}})) {
		t.Errorf("IPv4: % x", got)
	}
	vip := netip.MustParseAddr("2001:db8:c::64").As16()
	v6 := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: vip, Ifindex: 7})
	if got := replySource(v6); !bytes.Equal(got, unix.PktInfo6(&unix.Inet6Pktinfo{Addr: vip})) {
		t.Errorf("IPv6: % x", got)
	}
}

func FuzzReplySource(f *testing.F) {
	f.Add(unix.PktInfo4(&unix.Inet4Pktinfo{}))
	f.Add(unix.PktInfo6(&unix.Inet6Pktinfo{})[:20])
	f.Fuzz(func(_ *testing.T, oob []byte) { replySource(oob) })
}

func TestQuantilesOfAHundred(t *testing.T) {
	var d []time.Duration
	for _, i := range rand.Perm(100) {
		d = append(d, time.Duration(i+1)*time.Microsecond)
	}
	if got, want := quantiles(d), (Quantiles{50, 90, 99, 100}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFailuresOfOneKindAreOneLine(t *testing.T) {
	tally := newTally()
	for port := range 3 {
		tally.failConn(fmt.Errorf("dial from port %d: %w", port, unix.ECONNREFUSED), 2)
	}
	tally.failConn(context.DeadlineExceeded, 1)
	r := tally.report(LoadOptions{}.withDefaults(), time.Second)
	if r.Failed != 7 || r.Errors["connection refused"] != 3 || r.Errors["timeout"] != 1 || r.Err() == nil {
		t.Errorf("report = %+v, err %v", r, r.Err())
	}
}

// The flags that Load passes to the client have to mean what they meant: bad ones are
// found before anything is sent, so a refusal shows that they arrived.
func TestClientFlagsArriveAsTheyWereMeant(t *testing.T) {
	for _, c := range []struct {
		o    LoadOptions
		want string
	}{
		{LoadOptions{Connections: -1}, "connections -1"}, {LoadOptions{Requests: -2}, "requests -2"},
		{LoadOptions{Parallel: -3}, "parallel -3"}, {LoadOptions{Download: -4}, "bytes: want"},
	} {
		cmd := Command()
		c.o.Timeout = time.Second
		cmd.SetArgs(append([]string{"client", "http", "127.0.0.1:1"}, fillZero(c.o).flags()...))
		cmd.SetOut(io.Discard)
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

func fillZero(o LoadOptions) LoadOptions {
	setDefault(&o.Connections, 1)
	setDefault(&o.Parallel, 1)
	setDefault(&o.Requests, 1)
	return o
}

func TestStatusOfNoLabIsJSON(t *testing.T) {
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"status", "--json", "--prefix", "t-none"})
	if err := cmd.Execute(); errors.Is(err, errNotRoot) {
		testutil.Require(t, testutil.NeedNetNS, err.Error())
	} else if err != nil {
		t.Fatal(err)
	}
	var st Status
	if err := json.Unmarshal(out.Bytes(), &st); err != nil || st.Up || len(st.Namespaces) != 8 {
		t.Errorf("%v: %s", err, out.String())
	}
}
