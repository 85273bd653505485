package arch

// Module is the module's path, and the prefix of its packages' import paths.
const Module = "ulvs"

// Third-party modules, by the prefix of their import paths.
const (
	sys     = "golang.org/x/sys"
	xnet    = "golang.org/x/net"
	toml    = "github.com/BurntSushi/toml"
	ebpf    = "github.com/cilium/ebpf"
	xdp     = "github.com/asavie/xdp"
	netlink = "github.com/vishvananda/netlink"
	netns   = "github.com/vishvananda/netns"
	cobra   = "github.com/spf13/cobra"
	prom    = "github.com/prometheus/client_golang"
	gossip  = "github.com/hashicorp/memberlist"
	gvisor  = "gvisor.dev/gvisor"
	ethtool = "github.com/safchain/ethtool"
	mpacket = "github.com/mdlayher/packet"

	gopacket = "github.com/google/gopacket"
)

// Rule is a package, or a folder of packages, and what it may import besides the
// standard library.
type Rule struct {
	Package string   // below the module; a trailing /... covers the folder and all below
	Allow   []string // packages below the module (same notation), or modules; "*": anything
	Why     string
}

// Table is design.md's layout. The first rule that covers a package holds. A rule may stand here
// before its package exists.
var Table = []Rule{
	{"packet", nil, "a leaf: the data path's headers depend on nothing"},
	{"lvs", nil, "a leaf: the vocabulary depends on nothing"},
	{"events", nil, "a leaf: everything may tell what happened"},
	{"notify", []string{"events", "internal/..."}, "tells others; asks nobody"},
	{"dashboard", []string{"control", "events"}, "shows what the control socket tells"},
	{"metrics", []string{"control", "events", "notify", prom}, "reads what the director publishes"},
	{"sched", []string{"lvs", "packet"}, "picks among lvs's destinations by packet's tuples"},
	{"conntrack", []string{"packet", "internal/...", sys}, "keyed by tuples; its memory is mmap's"},
	{"keep", []string{"internal/sdnotify"}, "holds descriptors and does not look into them"},
	{"capture", []string{xnet}, "a filter language and a file format; x/net's BPF machine judges it in tests"},
	{"dataplane", []string{"packet", "lvs", "sched", "conntrack", "internal/..."},
		"the pipeline: no sockets, no netlink, no configuration, so that it runs on memqueue in tests"},
	{"dataplane/afxdp", []string{"packet", "internal/release", ebpf, xdp, sys},
		"frames in and out; it satisfies dataplane's interface without importing it"},
	{"dataplane/memqueue", []string{"packet"}, "a Queue without a kernel"},
	{"userstack", []string{"packet", "lvs", "dataplane", "internal/...", gvisor},
		"a TCP/IP stack joined to workers by rings; the director tells it what to probe"},
	{"route", []string{netlink, netns, sys}, "asks the kernel; the director hands its answers to the data path"},
	{"config", []string{"lvs", "sched", "tuning", "health", "events", "ha", toml},
		"text to validated vocabulary; starts nothing"},
	{"config/keepalived", []string{"config"}, "text to text; config judges the result"},
	{"health", []string{"lvs", "events", "internal/...", xnet}, "probes know destinations, not how frames reach them"},
	{"ha", []string{"packet"}, "a pure machine and a codec; gossip and director are its hands"},
	{"ha/ipvssync", nil, "bytes of a message; what they mean for the table is the director's"},
	{"ha/kernelsync", []string{"ha/ipvssync", "conntrack", "dataplane", "lvs", "packet", sys},
		"a kernel's sync daemons as the table's replica has them; the director starts and stops them"},
	{"ha/vrrp", []string{"ha", "packet", xnet, sys}, "raw sockets for adverts and announcements; decides nothing"},
	{"ha/gossip", []string{"ha", "conntrack", gossip}, "the only package that knows memberlist"},
	{"appliance", []string{"config", "internal/wholefile", sys},
		"words to files of a machine; config judges one of them"},
	{"decap", []string{ebpf, netlink}, "one XDP program, and how it gets onto a link"},
	{"sandbox", []string{xnet, sys}, "takes privileges away; knows no director"},
	{"realserver", []string{"lvs", "decap", "internal/wholefile", netlink, sys},
		"sets a host up behind a director; runs on no director"},
	{"tuning", []string{"internal/wholefile", ethtool, sys}, "reads and changes the machine; knows no service"},
	{"control", []string{"lvs", "conntrack", "config", "events"},
		"the API and its client; the director is behind an interface"},
	{"doctor", []string{"config", "control", "ha", "health", "lvs", "tuning", gopacket, mpacket, netlink, sys},
		"asks everybody, changes nothing"},
	{"director", []string{"packet", "lvs", "sched", "conntrack", "dataplane", "dataplane/afxdp", "route", "config",
		"health", "userstack", "ha", "ha/vrrp", "ha/gossip", "ha/kernelsync", "tuning", "control", "capture", "events",
		"notify", "metrics", "dashboard", "keep", "sandbox",
		"internal/...", netlink, netns, sys},
		"the only assembler: everything but memqueue"},
	{"control/top", []string{"control", "events", sys}, "a screen; what it asks is behind an interface"},
	{"control/ipvsadm", []string{"lvs", "control"}, "ipvsadm's words; the director is behind an interface"},
	{"cmd/ulvs", []string{"appliance", "director", "doctor", "control", "control/ipvsadm", "control/top", "config",
		"config/keepalived", "capture", "tuning", "events", "internal/sdnotify", "internal/wholefile", "keep", "realserver",
		"sandbox", "test/lab", "bench/measure", "bench/picks", "bench/pipeline", "bench/table", "bench/wire", "bench/load",
		"bench/tcp", "bench/frames", "bench/gaps", "bench/takeover", "bench/standby", cobra},
		"flags and signals only"},
	{"packaging", nil, "files; tests compare them with what the packages say"},
	{"packaging/sbom", nil, "reads a binary with the standard library"},
	{"internal/testutil", []string{netns, sys}, "test helpers know nothing of ulvs"},
	{"internal/runner", []string{sys}, "processes, for whoever has a command to run"},
	{"internal/...", nil, "small things on the standard library"},
	{"bench/...", []string{"*"}, "measures everything"},
	{"test/...", []string{"*"}, "tests everything"},
}

// Unsafe lists the packages that may import unsafe, each with the only functions of it that are allowed; none
// listed means all.
var Unsafe = []struct {
	Package string
	Only    []string
	Why     string
}{
	{"dataplane/afxdp", nil, "rings and UMEM are memory shared with the kernel"},
	{"conntrack", nil, "the table is memory outside the Go heap"},
	{"tuning", nil, "ioctls take pointers"},
	{"sandbox", nil, "system calls on all threads take pointers"},
	{"internal/release", []string{"Pointer"}, "a plain store to an atomic word"},
	{"packet", []string{"Sizeof"}, "sizes are asserted at compile time"},
	{"test/...", nil, "not shipped, but for the lab's ioctls"},
}

// TestOnly lists what no shipped package imports, but for the exceptions the Table names: cmd/ulvs, which has the lab
// and the benchmarks.
var TestOnly = []string{"internal/testutil", "dataplane/memqueue", "bench/...", "test/..."}
