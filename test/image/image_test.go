package image

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
)

func needImage(t *testing.T) {
	t.Helper()
	if os.Getenv("ULVS_IMAGE") == "" {
		t.Skip("a machine takes half a minute to start: make image-test")
	}
}

// The network: the director between a client's segment, which has the VIP, and the real server's.
const (
	service      = "198.18.0.100:80"
	clientAddr   = "198.18.0.10/24"
	serverAddr   = "10.18.1.21"
	serverAt     = serverAddr + ":80"
	directorMAC0 = "52-54-00-00-00-01"
	directorMAC1 = "52-54-00-00-00-02"
	password     = "lab"
	// passwordHash is what openssl passwd -6 -salt ulvslab lab prints.
	passwordHash = "$6$ulvslab$A8eBp.5gQc7AzQ1RzZdXcEcH.MwlTu.XR2kxjstsjMrCOLdvZ4Bt5hvzvOZ6FMuKyZ1tXLrOPLUSgkarma.d1/"
	requests     = 20 // HTTP connections
	datagrams    = 100
	patience     = 40 * time.Second // of somebody who waits for an answer
)

// plug gives the client and the real server their addresses.
func (m *machine) plug() {
	m.tb.Helper()
	m.ip(m.client, "addr add "+clientAddr+" dev t0")
	m.ip(m.client, "link set t0 up")
	m.ip(m.server, "addr add "+serverAddr+"/24 dev t0")
	m.ip(m.server, "link set t0 up")
	m.ip(m.server, "route add default via 10.18.1.2") // NAT: replies come back through the director
}

// forwards waits until the director knows its next hop.
func (m *machine) forwards() {
	m.tb.Helper()
	m.sh(`i=0; until s=$(ulvs status --json 2>/dev/null) && case $s in *'"next_hops": 0'*) false ;;
		*'"unresolved": 0'*) true ;; *) false ;; esac
		do i=$((i+1)); [ $i -lt 100 ] || { systemctl status ulvs --no-pager; exit 1; }; sleep 1; done`)
	if got := m.sh("cat /proc/sys/net/ipv4/ip_forward"); got != "0" {
		m.tb.Errorf("the machine's kernel forwards, too: %s", got)
	}
}

// isWell wants nothing failed, and the disk used to its end.
func (m *machine) isWell(hostname string) {
	m.tb.Helper()
	if got := m.sh("systemctl is-system-running --wait || systemctl --failed --no-pager"); got != "running" {
		m.tb.Errorf("the machine is %s", got)
	}
	if got := m.sh("cat /proc/sys/kernel/hostname /etc/hostname"); got != hostname+"\n"+hostname {
		m.tb.Errorf("it is called %q", got)
	}
	image, err := os.Stat(os.Getenv("ULVS_IMAGE"))
	if err != nil {
		m.tb.Fatal(err)
	}
	size, err := strconv.ParseInt(m.sh("lsblk -bno SIZE $(findmnt -no SOURCE /)"), 10, 64)
	if left := image.Size() + grown - size; err != nil || left > 300<<20 {
		m.tb.Errorf("of the disk %d bytes are not the root's (%v)", left, err)
	}
	blocks, err := strconv.ParseInt(m.sh("stat -fc %b /"), 10, 64)
	if err != nil || blocks*4096 < size*9/10 {
		m.tb.Errorf("the file system has %d blocks of a partition of %d bytes (%v)", blocks, size, err)
	}
	if ports := m.sh("ss -Hlnt"); ports != "" {
		m.tb.Errorf("it listens, and nobody asked for that:\n%s", ports)
	}
	m.tb.Log("\n" + m.sh(`systemd-analyze; systemd-analyze blame --no-pager | head -8; df -h / /boot/efi
		ip -br addr; ulvs status`))
}

// serveHTTP answers on the real server, and counts.
func (m *machine) serveHTTP() *atomic.Int64 {
	m.tb.Helper()
	var l net.Listener
	if err := m.server.Do(func() (err error) {
		l, err = net.Listen("tcp", serverAt)
		return err
	}); err != nil {
		m.tb.Fatal(err)
	}
	count := new(atomic.Int64)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		fmt.Fprintf(w, "served to %s", r.RemoteAddr)
	})}
	go func() { _ = s.Serve(l) }()
	m.tb.Cleanup(func() { _ = s.Close() })
	return count
}

// carriesHTTP has requests go through the VIP, all of which arrive, and which ulvs carried.
func (m *machine) carriesHTTP() {
	m.tb.Helper()
	served := m.serveHTTP()
	m.browse()
	if n := served.Load(); n != requests {
		m.tb.Errorf("the real server saw %d of %d requests", n, requests)
	}
	m.carried(requests, 5*requests, 4*requests)
}

// dial connects from the client's namespace.
func (m *machine) dial(ctx context.Context, network, at string) (c net.Conn, err error) {
	err = m.client.Do(func() error {
		d := net.Dialer{Timeout: time.Minute}
		c, err = d.DialContext(ctx, network, at)
		return err
	})
	return c, err
}

// browse makes connections through the VIP, one after the other.
func (m *machine) browse() {
	m.tb.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: m.dial}
	client := http.Client{Transport: transport, Timeout: time.Minute}
	for i := range requests {
		answer, err := client.Get("http://" + service + "/")
		if err != nil {
			m.tb.Fatalf("request %d: %v\n%s", i, err, m.sh("ulvs status; ulvs services; ip -s link"))
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || !strings.HasPrefix(string(text), "served to 198.18.0.10:") {
			m.tb.Fatalf("request %d: %v, %q", i, err, text)
		}
	}
}

// echo sends datagrams to the VIP, and wants each back before the next. It returns how many the real server saw.
func (m *machine) echo() int64 {
	m.tb.Helper()
	var server, client net.Conn
	var seen atomic.Int64
	if err := m.server.Do(func() error {
		c, err := net.ListenPacket("udp", serverAt)
		if err != nil {
			return err
		}
		server = c.(*net.UDPConn)
		go func() {
			for b := make([]byte, 2048); ; seen.Add(1) {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(b[:n], from)
			}
		}()
		return nil
	}); err != nil {
		m.tb.Fatal(err)
	}
	defer server.Close()
	if err := m.client.Do(func() (err error) {
		client, err = net.Dial("udp", service)
		return err
	}); err != nil {
		m.tb.Fatal(err)
	}
	defer client.Close()
	for i := range datagrams {
		b := make([]byte, 2048)
		_ = client.SetDeadline(time.Now().Add(patience))
		_, err := fmt.Fprintf(client, "datagram %d", i)
		n := 0
		if err == nil {
			n, err = client.Read(b)
		}
		if err != nil || string(b[:n]) != fmt.Sprintf("datagram %d", i) {
			m.tb.Fatalf("datagram %d, of which the real server saw %d: %v, %q\n%s", i, seen.Load(), err, b[:n],
				m.sh("ulvs status; ulvs services; ip neigh; journalctl -u ulvs --no-pager | tail -20"))
		}
	}
	return seen.Load()
}

// carried wants the director's own counters of the only service.
func (m *machine) carried(conns, in, out uint64) {
	m.tb.Helper()
	var services []control.Service
	text := m.sh("ulvs services --json")
	if err := json.Unmarshal([]byte(text), &services); err != nil || len(services) != 1 {
		m.tb.Fatalf("%v: %s", err, text)
	}
	if s := services[0].Stats; s.Conns != conns || s.InPackets < in || s.OutPackets < out {
		m.tb.Errorf("the director carried %+v, want %d connections, at least %d packets in and %d out", s, conns, in, out)
	}
}

// By BIOS from a virtio disk, configured by the kernel's command line, with a whole ulvs.toml in it.
func TestBIOSAndTheCommandLine(t *testing.T) {
	needImage(t)
	m := assemble(t)
	toml := fmt.Sprintf("[node]\ninterfaces = [\"eth0\", \"eth1\"]\n[[service]]\nvip = \"%s\"\nscheduler = \"rr\"\n"+
		"method = \"nat\"\n[[service.real_server]]\naddress = \"%s\"\n", service, serverAddr)
	words := strings.Join([]string{"net.ifnames=0 ulvs.hostname=lvs1 ulvs.address=eth0:198.18.0.2/24",
		"ulvs.address=eth1:10.18.1.2/24", "ulvs.config=base64:" + base64.StdEncoding.EncodeToString([]byte(toml)),
		"ulvs.password-hash=" + passwordHash, ""}, " ")
	m.edit("/syslinux.cfg", func(text string) string { return strings.Replace(text, "quiet", words+"quiet", 1) })
	m.start(hardware{disk: "virtio-blk-pci", nic: "virtio-net-pci"})
	m.plug()
	m.await("ulvs firstboot: configured by the words", bootLimit)
	m.login(password)
	m.forwards()
	m.carriesHTTP()
	m.isWell("lvs1")
	m.poweroff()
}

// By UEFI from an NVMe disk, configured by the file of the boot partition; interfaces by their MAC addresses.
func TestUEFIAndTheFileOfTheBootPartition(t *testing.T) {
	needImage(t)
	m := assemble(t)
	m.edit("/ulvs.conf", func(text string) string {
		return text + "ulvs.address=" + directorMAC0 + ":198.18.0.2/24\nulvs.address=" + directorMAC1 + ":10.18.1.2/24\n" +
			"ulvs.vip=" + service + "/udp,nat,rr," + serverAddr + "\n"
	})
	m.edit("/loader/entries/ulvs.conf", func(text string) string {
		return strings.TrimSpace(text) + " ulvs.hostname=lvs2 ulvs.password-hash=" + passwordHash + "\n"
	})
	m.start(hardware{uefi: true, disk: "nvme,serial=1", nic: "e1000e"})
	m.plug()
	m.await("ulvs firstboot: configured by the words", bootLimit)
	m.login(password)
	m.sh("test -d /sys/firmware/efi")
	m.forwards()
	if n := m.echo(); n != datagrams {
		t.Errorf("the real server saw %d of %d datagrams", n, datagrams)
	}
	m.carried(1, datagrams, datagrams)
	m.isWell("lvs2")
	m.poweroff()
}

// By BIOS from a SATA disk, configured by answers.
func TestTheQuestion(t *testing.T) {
	needImage(t)
	m := assemble(t)
	m.start(hardware{disk: "ide-hd", nic: "virtio-net-pci"})
	m.plug()
	m.await("Press Enter within", bootLimit)
	m.say("")
	for _, dialog := range []struct{ question, answer string }{
		{"Name of this machine", "lvs_3"}, {"Name of this machine", "lvs3"}, {"Interfaces of VIP traffic", ""},
		{"Address of", "198.18.0.2/24"}, {"Address of", "10.18.1.2/24"}, {"Gateway", ""},
		{"VIP and port", service}, {"Method", "nat"}, {"Scheduler", ""}, {"Real servers", serverAddr},
		{"Another VIP", ""}, {"Password of root", password}, {"Write this", ""},
	} {
		m.await(dialog.question+`.*\]: `, commandLimit)
		m.say(dialog.answer)
	}
	m.await("ulvs firstboot: configured\r?\n", commandLimit)
	m.login(password)
	m.forwards()
	m.carriesHTTP()
	m.isWell("lvs3")
	m.poweroff()
}

// A console that is asked for what is not there says so, and that it does: the tests above wait for words.
func TestAConsoleFindsWhatWasSaid(t *testing.T) {
	in, out := net.Pipe()
	c := watch(t, io.Discard, in)
	go func() {
		_, _ = out.Write([]byte("one two 3\n"))
		_, _ = out.Write([]byte("two 4\n"))
		_ = out.Close()
	}()
	for _, want := range []string{"3", "4"} {
		if words := c.await(`two (\d)`, testutil.AwaitLimit); words[1] != want {
			t.Errorf("found %q, want %s", words, want)
		}
	}
	<-c.end
	if c.find(regexp.MustCompile("two")) != nil || c.text() != "one two 3\ntwo 4\n" {
		t.Errorf("it said %q", c.text())
	}
}
