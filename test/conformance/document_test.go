package conformance

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ulvs/packet"
)

// documentTable is what the notes that ulvs began with show of two clients of a UDP service with persistence 360:
// 主机的连接列表中的expire列在非0端口行（上面两行）中为5分钟 ("of rows with another port than 0 the expire column is 5
// minutes"), 0端口（下面两行）中为6分钟 ("of port 0, 6 minutes"). Kernels since wrote NONE instead of UDP in the rows of
// port 0.
const documentTable = `pro expire state      source          virtual         destination
UDP 04:59  UDP          192.168.1.152:42433 192.168.1.160:5000 192.168.1.142:5000
UDP 04:59  UDP          192.168.1.151:34127 192.168.1.160:5000 192.168.1.143:5000
UDP 05:56  NONE         192.168.1.152:0    192.168.1.160:5000 192.168.1.142:5000
UDP 05:52  NONE         192.168.1.151:0    192.168.1.160:5000 192.168.1.143:5000
`

var documentClients = []string{"192.168.1.151:34127", "192.168.1.152:42433"}

// TestTheDocumentsTemplatesCountDownAndAreRenewed plays the document's hour: entries of port 0 count down from six
// minutes, 但此6分钟在逐渐减少后又会自动恢复为1分钟 ("but when the 6 minutes have run down they become 1 minute by
// themselves"), for as long as the clients send, 因此这些0端口的连接项在主机中一直存在 ("and so they are always there").
func TestTheDocumentsTemplatesCountDownAndAreRenewed(t *testing.T) {
	p := room(t)
	p.says(t, "ipvsadm -A -u 192.168.1.160:5000 -s rr -p 360", "", 0)
	p.says(t, "ipvsadm -a -u 192.168.1.160:5000 -r 192.168.1.142:5000 -g", "", 0)
	p.says(t, "ipvsadm -a -u 192.168.1.160:5000 -r 192.168.1.143:5000 -g", "", 0)
	p.says(t, "ipvsadm -l --timeout", "Timeout (tcp tcpfin udp): 900 120 300\n", 0)
	p.datagram(t, documentClients[0])
	p.says(t, "sleep 4", "", 0)
	p.datagram(t, documentClients[1])
	p.says(t, "sleep 3", "", 0)
	p.bothSend(t)
	p.says(t, "sleep 0.8", "", 0)
	if got, want := p.rows(t, "ipvsadm -lcn"), rowsOf(documentTable); !sameRows(got, want) {
		t.Fatalf("ipvsadm -lcn shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Six minutes from their making, then a minute at a time, as long as sessions hang on them.
	before, renewed := 352, 0
	for second := range 3600 {
		p.bed.pass(time.Second) // a shell a second would take long
		if second%10 == 0 {
			p.bothSend(t)
		}
		if second%20 != 0 {
			continue
		}
		now := p.expire(t, "192.168.1.151:0")
		if session := p.expire(t, documentClients[0]); session < 285 || now < 0 {
			t.Fatalf("after %d s the session has %d s left and its template %d", second, session, now)
		}
		if now > before {
			renewed++
			if now > 60 || before > 60-20 && before < 300 {
				t.Errorf("after %d s it went from %d to %d s", second, before, now)
			}
		}
		before = now
	}
	if renewed < 50 || renewed > 54 {
		t.Errorf("renewed %d times in 54 minutes, want once a minute", renewed)
	}
	// The clients fall silent: the sessions go after five minutes, the templates with the minute after that.
	p.says(t, "sleep 285", "", 0)
	if p.expire(t, documentClients[0]) < 0 || p.expire(t, "192.168.1.151:0") < 0 {
		t.Error("a session or its template is gone before its time")
	}
	p.says(t, "sleep 80", "", 0)
	if got := p.rows(t, "ipvsadm -lcn"); len(got) != 0 {
		t.Errorf("left are %q", got)
	}
}

// TestARenewedTemplateHasAMinute is the 59 to 60 seconds that the document sees.
func TestARenewedTemplateHasAMinute(t *testing.T) {
	p := room(t)
	p.says(t, "ipvsadm -A -u 192.168.1.160:5000 -s rr -p 360", "", 0)
	p.says(t, "ipvsadm -a -u 192.168.1.160:5000 -r 192.168.1.143:5000", "", 0)
	p.datagram(t, documentClients[0])
	p.says(t, "sleep 200", "", 0)
	p.datagram(t, documentClients[0]) // the session's: the template's time goes on
	p.says(t, "sleep 159", "", 0)
	if left := p.expire(t, "192.168.1.151:0"); left > 1 {
		t.Errorf("after 359 s it has %d s left", left)
	}
	p.says(t, "sleep 1.5", "", 0)
	if left := p.expire(t, "192.168.1.151:0"); left != 59 {
		t.Errorf("renewed it has %d s left, want 59", left)
	}
}

func (p *player) bothSend(t *testing.T) {
	t.Helper()
	for _, c := range documentClients {
		p.datagram(t, c)
	}
}

// datagram is a client's, which must reach a real server.
func (p *player) datagram(t *testing.T, client string) {
	t.Helper()
	from, to := netip.MustParseAddrPort(client), netip.MustParseAddrPort("192.168.1.160:5000")
	frame := make([]byte, packet.EthernetLen+packet.IPv4Len+packet.UDPLen)
	macs, err := hex.DecodeString("0200000001010200000000010800")
	if err != nil {
		t.Fatal(err)
	}
	copy(frame, macs)
	packet.IPv4(frame[packet.EthernetLen:]).Encode(&packet.IPv4Fields{
		TTL: 64, Proto: packet.ProtoUDP, TotalLen: packet.IPv4Len + packet.UDPLen,
		Src: packet.WireV4(from.Addr()), Dst: packet.WireV4(to.Addr()),
	})
	packet.UDP(frame[packet.EthernetLen+packet.IPv4Len:]).Encode(&packet.UDPFields{
		SrcPort: from.Port(), DstPort: to.Port(), Length: packet.UDPLen,
	})
	p.bed.pass(stepTime)
	out, err := p.bed.inject(&Frame{If: "c0", Hex: frame})
	if err != nil || len(out) != 1 {
		t.Fatalf("%d frames came out, %v", len(out), err)
	}
}

// rows returns the sessions that a line prints, their fields one blank apart.
func (p *player) rows(t *testing.T, line string) []string {
	t.Helper()
	text, rc, err := p.shell.run(line)
	if err != nil || rc != 0 {
		t.Fatalf("$ %s\n%d, %v: %s", line, rc, err, text)
	}
	return rowsOf(text)
}

func rowsOf(text string) (rows []string) {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "UDP") {
			rows = append(rows, strings.Join(strings.Fields(line), " "))
		}
	}
	return rows
}

// sameRows compares rows in any order.
func sameRows(a, b []string) bool {
	left := map[string]int{}
	for _, row := range a {
		left[row]++
	}
	for _, row := range b {
		left[row]--
	}
	for _, n := range left {
		if n != 0 {
			return false
		}
	}
	return true
}

// expire returns the seconds that a client's row has left, -1 if there is none.
func (p *player) expire(t *testing.T, client string) int {
	t.Helper()
	for _, row := range p.rows(t, "ipvsadm -lcn") {
		var minutes, seconds int
		f := strings.Fields(row)
		if f[3] != client {
			continue
		}
		if _, err := fmt.Sscanf(f[1], "%d:%d", &minutes, &seconds); err != nil {
			t.Fatal(err)
		}
		return minutes*60 + seconds
	}
	return -1
}
