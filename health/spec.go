package health

import (
	"net/netip"
	"reflect"
	"time"
)

// Kind is what a check does.
type Kind string

// The kinds, by their word in a configuration, with keepalived's name.
const (
	KindTCP    Kind = "tcp"    // TCP_CHECK: a connection is made and closed
	KindHTTP   Kind = "http"   // HTTP_GET
	KindHTTPS  Kind = "https"  // SSL_GET
	KindUDP    Kind = "udp"    // UDP_CHECK: a datagram raises no ICMP error, or is replied to
	KindDNS    Kind = "dns"    // DNS_CHECK: a query is answered without error
	KindSMTP   Kind = "smtp"   // SMTP_CHECK: banner, EHLO, QUIT
	KindPing   Kind = "ping"   // PING_CHECK: ICMP echo
	KindScript Kind = "script" // MISC_CHECK: a command's exit code
	KindFile   Kind = "file"   // FILE_CHECK: a number in a file
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{KindTCP, KindHTTP, KindHTTPS, KindUDP, KindDNS, KindSMTP, KindPing, KindScript, KindFile}
}

// connects reports whether the kind opens a connection through a Dialer, so that it can go the
// way that clients' packets go.
func (k Kind) connects() bool {
	switch k {
	case KindTCP, KindHTTP, KindHTTPS, KindUDP, KindDNS, KindSMTP:
		return true
	}
	return false
}

// network is the word for a Dialer.
func (k Kind) network() string {
	if k == KindUDP || k == KindDNS {
		return "udp"
	}
	return "tcp"
}

// Via is the way a probe takes.
type Via string

// The ways. The empty one is decided by Resolve.
const (
	ViaPath    Via = "path"    // addressed to the VIP, through the forwarder, as clients' packets
	ViaAddress Via = "address" // to the real server's own address, as keepalived does
)

// Opt is a value that may be left out. The zero Opt is left out.
type Opt[T comparable] struct {
	Value T
	Set   bool
}

// Some is a value that was given.
func Some[T comparable](v T) Opt[T] { return Opt[T]{v, true} }

// Or returns o, or other where o was left out.
func (o Opt[T]) Or(other Opt[T]) Opt[T] {
	if o.Set {
		return o
	}
	return other
}

// Common is what a service gives to its real servers and a real server to its checks.
type Common struct {
	Via              Via                // "": see Resolve
	VirtualHost      string             // HTTP's Host, and the name that TLS asks for; "": the address
	DelayLoop        Opt[time.Duration] // from one check to the next
	ConnectTimeout   Opt[time.Duration] // of a connection, and once more of what follows on it
	Retry            Opt[int]           // failures beyond the first before a server that is up counts as down
	DelayBeforeRetry Opt[time.Duration]
	Warmup           Opt[time.Duration] // the first check comes at a random moment of so much time; 0: at once
	Alpha            Opt[bool]          // down until the first success; otherwise up until the first failure
}

// Or returns c with what it leaves out taken from parent.
func (c Common) Or(parent Common) Common {
	if c.Via == "" {
		c.Via = parent.Via
	}
	if c.VirtualHost == "" {
		c.VirtualHost = parent.VirtualHost
	}
	c.DelayLoop = c.DelayLoop.Or(parent.DelayLoop)
	c.ConnectTimeout = c.ConnectTimeout.Or(parent.ConnectTimeout)
	c.Retry = c.Retry.Or(parent.Retry)
	c.DelayBeforeRetry = c.DelayBeforeRetry.Or(parent.DelayBeforeRetry)
	c.Warmup = c.Warmup.Or(parent.Warmup)
	c.Alpha = c.Alpha.Or(parent.Alpha)
	return c
}

// Spec is one check as configured. Fields of other kinds are zero. Resolve fills in what is
// left out.
type Spec struct {
	Kind Kind
	Common

	ConnectIP      netip.Addr // invalid: the real server; implies via address
	ConnectPort    uint16     // 0: the real server's
	BindTo         netip.Addr // invalid: the system chooses where probes come from
	LogAllFailures bool       // log each failure, not only the one that takes the server down

	// KindHTTP, KindHTTPS
	URLs          []URL         // in sequence, one each delay_loop; at least one
	HTTPProtocol  string        // "1.0" (the default), "1.0C" with Connection: close, "1.1"
	SNI           string        // https: the name asked for; "": that of the virtual host, if there is one
	FastRecovery  bool          // while down, the URLs follow each other without delay
	ExpiryWarning time.Duration // https: warn so long before the certificate expires; 0: never

	// KindUDP
	Payload      string // hex digits; "": 32 random bytes
	RequireReply bool
	Reply        string // hex digits, X matches any; what the reply has to begin with; "": anything

	// KindDNS
	Name   string // "": the root
	Record string // "": SOA

	// KindSMTP
	HeloName string // "": smtpchecker.keepalived.org

	// KindScript
	Args    []string           // without the program
	Timeout Opt[time.Duration] // left out: delay_loop
	Dynamic bool               // exit codes from 2 give the weight, code - 2; with a file its value times Weight is added

	// KindScript: the program. KindFile: the file.
	Path string

	// KindFile
	Weight int // 0: any number but 0 is a failure; else the value times this counts, see File
}

// URL is one of the pages that an HTTP check asks for.
type URL struct {
	Path        string
	StatusCode  string // "200-299 301": what is good; "": 200-299
	Digest      string // MD5 of the body, 32 hex digits; "": any
	Regex       string // has to match somewhere in the body (Go's syntax); "": any
	VirtualHost string // "": the check's
}

// Equal reports whether s and t are the same check.
func (s *Spec) Equal(t *Spec) bool { return reflect.DeepEqual(s, t) }
