package health

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ulvs/lvs"
)

func web() lvs.ServiceKey {
	return lvs.ServiceKey{Addr: netip.MustParseAddr("192.0.2.1"), Port: 80, Proto: lvs.ProtoTCP}
}

func real() netip.AddrPort { return netip.MustParseAddrPort("10.0.0.21:8080") }

func TestDefaultsAreKeepalived(t *testing.T) {
	for kind, want := range map[Kind]struct {
		retry int
		delay time.Duration
	}{
		KindTCP: {1, time.Second}, KindHTTP: {1, 3 * time.Second}, KindHTTPS: {1, 3 * time.Second},
		KindUDP: {1, time.Second}, KindDNS: {3, 60 * time.Second}, KindSMTP: {1, time.Second},
		KindPing: {1, time.Second}, KindScript: {0, time.Second}, KindFile: {0, time.Second},
	} {
		s := Spec{Kind: kind}.Resolve(Common{}, web())
		if s.Retry.Value != want.retry || s.DelayBeforeRetry.Value != want.delay {
			t.Errorf("%s: retry %d after %v, want %+v", kind, s.Retry.Value, s.DelayBeforeRetry.Value, want)
		}
		if kind != KindFile && (s.DelayLoop.Value != time.Minute || s.Warmup.Value != time.Minute) {
			t.Errorf("%s: delay_loop %v, warmup %v", kind, s.DelayLoop.Value, s.Warmup.Value)
		}
		if s.ConnectTimeout.Value != 5*time.Second || s.Alpha.Value {
			t.Errorf("%s: connect_timeout %v, alpha %v", kind, s.ConnectTimeout.Value, s.Alpha.Value)
		}
	}
}

func TestValuesAreInheritedFromTheRealServerAndItsService(t *testing.T) {
	service := Common{DelayLoop: Some(6 * time.Second), Retry: Some(3), Alpha: Some(true), VirtualHost: "a.example"}
	server := Common{Retry: Some(0), ConnectTimeout: Some(time.Second)}
	s := Spec{Kind: KindHTTP, Common: Common{Alpha: Some(false)}, URLs: []URL{{Path: "/"}, {Path: "/b", VirtualHost: "b"}}}
	s = s.Resolve(server.Or(service), web())
	if s.DelayLoop.Value != 6*time.Second || s.Warmup.Value != 6*time.Second || s.Retry.Value != 0 ||
		s.ConnectTimeout.Value != time.Second || s.Alpha.Value || s.DelayBeforeRetry.Value != 3*time.Second {
		t.Errorf("got %+v", s.Common)
	}
	if s.URLs[0].VirtualHost != "a.example" || s.URLs[1].VirtualHost != "b" || s.URLs[0].StatusCode != "200-299" {
		t.Errorf("got %+v", s.URLs)
	}
}

func TestProbesTakeThePathWhereTheyCan(t *testing.T) {
	mark := lvs.ServiceKey{Addr: netip.IPv4Unspecified(), Mark: 7}
	for _, c := range []struct {
		spec Spec
		key  lvs.ServiceKey
		want Via
	}{
		{Spec{Kind: KindTCP}, web(), ViaPath},
		{Spec{Kind: KindTCP, Common: Common{Via: ViaAddress}}, web(), ViaAddress},
		{Spec{Kind: KindDNS}, web(), ViaPath},
		{Spec{Kind: KindTCP}, mark, ViaAddress},
		{Spec{Kind: KindTCP, ConnectIP: netip.MustParseAddr("10.0.0.9")}, web(), ViaAddress},
		{Spec{Kind: KindPing}, web(), ViaAddress},
		{Spec{Kind: KindScript}, web(), ViaAddress},
	} {
		if got := c.spec.Resolve(Common{}, c.key).Via; got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.spec.Kind, c.key, got, c.want)
		}
	}
}

func TestATargetIsTheVIPOnThePathAndTheServerOtherwise(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.9")
	for _, c := range []struct {
		name            string
		spec            Spec
		method          lvs.Method
		address, server string
	}{
		{"nat", Spec{Kind: KindTCP}, lvs.MethodNAT, "192.0.2.1:80", "10.0.0.21:8080"},
		{"nat, another port", Spec{Kind: KindTCP, ConnectPort: 81}, lvs.MethodNAT, "192.0.2.1:80", "10.0.0.21:81"},
		{"tun, another port", Spec{Kind: KindTCP, ConnectPort: 81}, lvs.MethodTUN, "192.0.2.1:81", "10.0.0.21:81"},
		{"address", Spec{Kind: KindTCP, Common: Common{Via: ViaAddress}}, lvs.MethodDR, "10.0.0.21:8080", "invalid AddrPort"},
		{"connect_ip", Spec{Kind: KindTCP, ConnectIP: ip}, lvs.MethodDR, "10.0.0.9:8080", "invalid AddrPort"},
	} {
		s := c.spec.Resolve(Common{}, web())
		got := TargetOf(&s, web(), real(), c.method)
		if got.Address.String() != c.address || got.Server.String() != c.server {
			t.Errorf("%s: to %s by %s, want %s by %s", c.name, got.Address, got.Server, c.address, c.server)
		}
		if d := got.Direct(); got.Via == ViaPath && (d.Address != got.Server || d.Via != ViaAddress) {
			t.Errorf("%s: the diagnosis goes to %s", c.name, d.Address)
		}
	}
}

func TestWhatIsWrongWithASpecIsNamed(t *testing.T) {
	long := strings.Repeat("x", 2000)
	page := []URL{{Path: "/"}}
	for _, c := range []struct {
		spec Spec
		key  string // "": nothing is wrong
	}{
		{Spec{}, "type"},
		{Spec{Kind: "icmp"}, "type"},
		{Spec{Kind: KindTCP}, ""},
		{Spec{Kind: KindTCP, Common: Common{DelayLoop: Some(time.Duration(0))}}, "delay_loop"},
		{Spec{Kind: KindTCP, Common: Common{Warmup: Some(time.Duration(0))}}, ""},
		{Spec{Kind: KindTCP, Common: Common{ConnectTimeout: Some(48 * time.Hour)}}, "connect_timeout"},
		{Spec{Kind: KindTCP, Common: Common{DelayBeforeRetry: Some(-time.Second)}}, "delay_before_retry"},
		{Spec{Kind: KindTCP, Common: Common{Retry: Some(-1)}}, "retry"},
		{Spec{Kind: KindTCP, Common: Common{Via: "moon"}}, "via"},
		{Spec{Kind: KindPing, Common: Common{Via: ViaPath}}, "via"},
		{Spec{Kind: KindPing, ConnectPort: 1}, "connect_port"},
		{Spec{Kind: KindTCP, Common: Common{Via: ViaPath}, ConnectIP: netip.MustParseAddr("10.0.0.1")}, "connect_ip"},
		{Spec{Kind: KindTCP, BindTo: netip.MustParseAddr("2001:db8::1")}, "bindto"},
		{Spec{Kind: KindHTTP}, "urls"},
		{Spec{Kind: KindHTTP, URLs: make([]URL, 17)}, "urls"},
		{Spec{Kind: KindHTTP, URLs: page}, ""},
		{Spec{Kind: KindHTTP, URLs: page, SNI: "a"}, "type"},
		{Spec{Kind: KindHTTPS, URLs: page, SNI: "a b"}, "sni"},
		{Spec{Kind: KindHTTPS, URLs: page, ExpiryWarning: -1}, "expiry_warning"},
		{Spec{Kind: KindHTTP, URLs: page, HTTPProtocol: "2"}, "http_protocol"},
		{Spec{Kind: KindHTTP, URLs: page, Common: Common{VirtualHost: "a\r\nX: y"}}, "virtualhost"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/a\r\nb"}}}, "urls[0].path"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/a b"}}}, "urls[0].path"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/" + long}}}, "urls[0].path"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "a"}}}, "urls[0].path"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/", StatusCode: "20"}}}, "urls[0].status_code"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/", StatusCode: "300-200"}}}, "urls[0].status_code"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/", StatusCode: "200-299,404 503"}}}, ""},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/", Digest: "abc"}}}, "urls[0].digest"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/", Regex: "("}}}, "urls[0].regex"},
		{Spec{Kind: KindHTTP, URLs: []URL{{Path: "/", Regex: long}}}, "urls[0].regex"},
		{Spec{Kind: KindUDP, Payload: "abc"}, "payload"},
		{Spec{Kind: KindUDP, RequireReply: true, Reply: "0X X"}, "reply"},
		{Spec{Kind: KindUDP, RequireReply: true, Reply: "0XXfAb"}, ""},
		{Spec{Kind: KindUDP, Reply: "00"}, "reply"},
		{Spec{Kind: KindDNS, Name: long}, "name"},
		{Spec{Kind: KindDNS, Name: "a..b"}, "name"},
		{Spec{Kind: KindDNS, Record: "XYZ"}, "record"},
		{Spec{Kind: KindDNS, Name: "example.org", Record: "aaaa"}, ""},
		{Spec{Kind: KindSMTP, HeloName: "a\r\nQUIT"}, "helo_name"},
		{Spec{Kind: KindScript}, "path"},
		{Spec{Kind: KindScript, Path: "relative"}, "path"},
		{Spec{Kind: KindScript, Path: "/x", Args: make([]string, 65)}, "args"},
		{Spec{Kind: KindScript, Path: "/x", Args: []string{"a\x00"}}, "args[0]"},
		{Spec{Kind: KindScript, Path: "/x", Timeout: Some(time.Duration(0))}, "timeout"},
		{Spec{Kind: KindFile, Path: "/x", Weight: -5}, ""},
	} {
		got := c.spec.Validate(real())
		switch {
		case c.key == "" && len(got) > 0:
			t.Errorf("%+v: %v", c.spec, got)
		case c.key != "" && (len(got) == 0 || got[0].Key != c.key):
			t.Errorf("%+v: %v, want a complaint about %s", c.spec, got, c.key)
		}
	}
	got := (&Spec{Kind: KindTCP}).Validate(netip.MustParseAddrPort("10.0.0.1:0"))
	if len(got) != 1 || got[0].Key != "connect_port" {
		t.Errorf("a real server without port: %v", got)
	}
}

func TestAReplyIsComparedNibbleByNibble(t *testing.T) {
	for _, c := range []struct {
		pattern, reply string
		want           bool
	}{
		{"", "", true}, {"", "00", true}, {"12", "", false}, {"12", "12", true}, {"12", "1234", true}, {"12", "13", false},
		{"1X", "1f", true}, {"X2", "f2", true}, {"X2", "f3", false}, {"xXaB", "00ab", true}, {"xXaB", "00", false},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		reply, _ := hex.DecodeString(c.reply)
		if got := p.matches(reply); got != c.want {
			t.Errorf("%s begins with %s: %v", c.reply, c.pattern, got)
		}
	}
}

func TestTheNetworkFollowsTheKind(t *testing.T) {
	for kind, want := range map[Kind]string{KindTCP: "tcp", KindHTTPS: "tcp", KindUDP: "udp", KindDNS: "udp"} {
		if got := kind.network(); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}
