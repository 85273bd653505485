// Package control is how a running director is asked what it does: the types of
// the answers, a server on a unix socket (HTTP and JSON) and its client.
//
// It owns the wire format (every JSON field carries its unit in its name, lists
// are never null) and the socket's file. It does not know workers, tables or
// configuration files: the director answers through Backend, and cmd/ulvs turns
// answers into tables. What it changes, it changes as ipvsadm does, through Editor, and for root
// only; package ipvsadm is that command's front end.
//
//	GET /v1/status
//	GET /v1/services?protocol=&vip=
//	GET /v1/conns?protocol=&client=&vip=&real_server=&state=&limit=   one JSON object per line
//	GET /v1/ipvs/listing
//	GET /v1/ipvs/conns                one ListedConn per line
//	POST /v1/ipvs/edit                an lvs.Edit
//	POST /v1/settings                 a Setting
//	POST /v1/reload                   a Reloaded
//	GET /v1/running                   a Running
//	GET /v1/health
//	POST /v1/saved
//	POST /v1/edit                     Edits; the answer is Edited
//	GET /v1/drains                    a list of Drains
//	POST /v1/drain, POST /v1/enable   a DrainRequest; the answer is a list of Drains
//	GET /v1/vrrp
//	POST /v1/vrrp/release             a ReleaseRequest
//	GET /v1/trace?flow=&port=         a Trace
//	GET /v1/capture?filter=&service=&drops=&count=&snaplen=&seconds=   pcapng, its counts as trailers
//	DELETE /v1/capture                ends the one that runs
//	GET /metrics                      Prometheus' text format
//	GET /v1/events?kind=&service=&after=&limit=&follow=   server-sent events; follow=0: a list
package control

import (
	"fmt"
	"net/netip"
	"time"
)

// Backend answers for the director. Its methods are called concurrently.
type Backend interface {
	// Status returns the director as a whole.
	Status() Status
	// Services returns all services.
	Services() []Service
	// Conns calls fn for each session until fn returns false. It may skip what f does not match; fn
	// checks again. fn may take long (it writes to a client) but no longer than
	// StreamTimeout for the whole walk.
	Conns(f ConnFilter, fn func(Conn) bool)
}

// Status is the director as a whole.
type Status struct {
	Name          string    `json:"name"`
	PID           int       `json:"pid"`
	Version       string    `json:"version"`
	StartedAt     time.Time `json:"started_at"`
	UptimeSeconds int64     `json:"uptime_seconds"`
	ConfigPath    string    `json:"config_path,omitempty"`
	// Modified says that what runs differs from the file as it was last read or written, and in what.
	Modified         bool           `json:"modified"`
	ModifiedServices int            `json:"modified_services"`
	ModifiedTimeouts bool           `json:"modified_timeouts"`
	ModifiedSettings int            `json:"modified_settings"`
	Generation       uint64         `json:"generation"` // of the snapshot; workers report theirs
	Workers          []WorkerStatus `json:"workers"`
	Ports            []PortStatus   `json:"ports"`
	Sessions         Sessions       `json:"sessions"`
	Verdicts         []Verdict      `json:"verdicts"` // in the data plane's order
	Routing          Routing        `json:"routing"`
	Stack            Stack          `json:"stack"`
	Restart          Restart        `json:"restart"`
	Alarms           []string       `json:"alarms,omitempty"` // what an operator has to look at, in words
}

// Restart is what this director found of the one before, and who keeps its own sessions.
type Restart struct {
	Keeper        string  `json:"keeper"`           // systemd, keeper or off
	Reason        string  `json:"reason,omitempty"` // why nobody keeps them although somebody should
	HugePages     bool    `json:"huge_pages"`       // sessions in memory that is kept have them
	Generation    uint64  `json:"generation"`       // of the table: one more with each director that goes on with it
	ShardsDropped int     `json:"shards_dropped"`   // memory that was there and could not be read
	Seconds       float64 `json:"recovery_seconds"`
	GapSeconds    float64 `json:"gap_seconds"` // from the last sign of the director before to this one's first frame
	LastBeat      int64   `json:"-"`           // boot time of that sign, in nanoseconds; 0: there was none
	Recovery
}

// Recovery is what became of the sessions of the director before.
type Recovery struct {
	Sessions     int `json:"sessions_recovered"`
	Templates    int `json:"templates_recovered"`
	Dropped      int `json:"sessions_dropped"` // the sum of the next five
	Torn         int `json:"dropped_torn"`     // their memory does not verify
	NoService    int `json:"dropped_no_service"`
	NoRealServer int `json:"dropped_no_real_server"`
	Twice        int `json:"dropped_twice"` // their key was there already
	Full         int `json:"dropped_full"`  // max_conns is lower now
	Expired      int `json:"expired"`       // while no director ran
	Loose        int `json:"loose"`         // recovered without the template they hung on
}

// WorkerStatus is one worker. Counters are since its start.
type WorkerStatus struct {
	ID           int      `json:"id"`
	CPU          int      `json:"cpu"` // -1: not pinned
	Queue        int      `json:"queue"`
	Ports        []string `json:"ports"`
	IO           string   `json:"io"` // afxdp or asavie
	Generation   uint64   `json:"generation"`
	Frames       uint64   `json:"frames"`
	Batches      uint64   `json:"batches"`
	IdleFraction float64  `json:"idle_fraction"` // share of the time since the start that it slept, 0 to 1
	IdleSeconds  float64  `json:"idle_seconds"`
}

// PortStatus is one interface, its counters summed over the workers' queues.
type PortStatus struct {
	Name     string `json:"name"`
	MAC      string `json:"mac"`
	MTU      int    `json:"mtu_bytes"`
	LinkUp   bool   `json:"link_up"`
	Queues   int    `json:"queues"`
	XDPMode  string `json:"xdp_mode"`  // native or generic
	CopyMode string `json:"copy_mode"` // zerocopy or copy, as read back from the socket
	// ZeroCopyFailure says why frames are copied although the driver granted zero-copy: it failed its test at start.
	ZeroCopyFailure string `json:"zero_copy_failure,omitempty"`

	RXFrames uint64 `json:"rx_frames"`
	TXFrames uint64 `json:"tx_frames"`
	TXFull   uint64 `json:"tx_full_frames"`  // given up: the ring had no room
	TXErrors uint64 `json:"tx_error_frames"` // given up: the interface refused
	// XDP_STATISTICS of the kernel.
	RXDropped     uint64 `json:"kernel_rx_dropped_frames"`
	RXRingFull    uint64 `json:"kernel_rx_ring_full_frames"`
	FillEmpty     uint64 `json:"kernel_fill_ring_empty"`
	InvalidDescs  uint64 `json:"kernel_invalid_descs"`
	TXRingEmpty   uint64 `json:"kernel_tx_ring_empty"`
	SteeredFrames uint64 `json:"steered_frames"` // redirected to AF_XDP by the XDP program
	PassedFrames  uint64 `json:"passed_frames"`  // left to the kernel by it
	// Members are the interfaces of a bond, which is one port.
	Members []PortMember `json:"members,omitempty"`
}

// PortMember is an interface of a bond.
type PortMember struct {
	Name  string `json:"name"`
	Sends bool   `json:"sends"` // the bond sends on it now; frames are taken from all
}

// Sessions is the connection table.
type Sessions struct {
	Active     int64  `json:"active"`   // as IPVS counts ActiveConn
	Inactive   int64  `json:"inactive"` // as IPVS counts InActConn
	Templates  int64  `json:"templates"`
	SizeHint   int64  `json:"size_hint"`   // 2^conn_tab_bits; not a limit
	MaxConns   int64  `json:"max_conns"`   // 0: no limit
	Bytes      int64  `json:"bytes"`       // resident memory of the table
	Grown      uint64 `json:"grown"`       // how often the index doubled
	Refused    uint64 `json:"refused"`     // sessions not made because of max_conns or memory
	ReplyClash uint64 `json:"reply_clash"` // NAT sessions whose reply key was taken
}

// Stack is ulvs's own TCP/IP stack: checks down the real path, and servers on this host.
type Stack struct {
	Frames        uint64 `json:"frames"` // from the stack; they have verdicts, too
	Lost          uint64 `json:"lost"`   // between stack and workers, for want of room
	Probes        int    `json:"probes"` // checks under way
	ProbeLimit    int    `json:"probe_limit"`
	ProbesRefused uint64 `json:"probes_refused"` // over the limit
	Sessions      int    `json:"sessions"`       // with servers on this host
	SessionLimit  int    `json:"session_limit"`
	Accepted      uint64 `json:"accepted"`
	Refused       uint64 `json:"refused"`     // sessions over the limit
	Unreachable   uint64 `json:"unreachable"` // sessions whose server did not accept
}

// Verdict counts frames that met one fate, drops by reason.
type Verdict struct {
	Name   string `json:"name"`
	Frames uint64 `json:"frames"`
	Drop   bool   `json:"drop"`
}

// Routing sums up what the director knows of the kernel's routes and neighbours.
type Routing struct {
	Links      int `json:"links"`
	Routes     int `json:"routes"`
	Neighbours int `json:"neighbours"`
	NextHops   int `json:"next_hops"`  // that destinations use
	Unresolved int `json:"unresolved"` // next hops without a MAC address
}

// Stats are IPVS's counters of a service or real server since their start.
type Stats struct {
	Conns      uint64 `json:"conns"`
	InPackets  uint64 `json:"in_packets"`
	OutPackets uint64 `json:"out_packets"` // NAT only: other replies do not pass the director
	InBytes    uint64 `json:"in_bytes"`
	OutBytes   uint64 `json:"out_bytes"`
}

// Service is a VIP with its real servers.
type Service struct {
	Protocol           string         `json:"protocol"`       // tcp, udp, sctp; fwm: packets with a mark
	Mark               uint32         `json:"mark,omitempty"` // then VIP only tells the family
	VIP                netip.AddrPort `json:"vip"`
	Scheduler          string         `json:"scheduler"`
	Flags              []string       `json:"flags"`
	PersistenceSeconds int64          `json:"persistence_seconds"`        // 0: none
	PersistenceBits    int            `json:"persistence_bits"`           // prefix of a client's address; 0: all of it
	PersistenceMask    string         `json:"persistence_mask,omitempty"` // IPv4, if it is no prefix
	OnePacket          bool           `json:"one_packet"`
	State              string         `json:"state"` // up, quorum_lost, sorry
	Stats              Stats          `json:"stats"`
	Rates              Rates          `json:"rates"`
	RealServers        []RealServer   `json:"real_servers"`
}

// Name names a service as events and metrics do: "tcp 192.0.2.10:80", "fwm 7", "fwm 7 ipv6".
func (s *Service) Name() string {
	switch {
	case s.Mark != 0 && s.VIP.Addr().Is6():
		return fmt.Sprintf("fwm %d ipv6", s.Mark)
	case s.Mark != 0:
		return fmt.Sprintf("fwm %d", s.Mark)
	}
	return s.Protocol + " " + s.VIP.String()
}

// TakesClients reports whether schedulers may pick the real server.
func (r *RealServer) TakesClients() bool { return r.Weight > 0 && !r.Overloaded }

// RealServer is a destination of a service.
type RealServer struct {
	Address netip.AddrPort `json:"address"`
	Method  string         `json:"method"` // dr, nat, tun
	Tunnel  string         `json:"tunnel,omitempty"`
	Weight  int32          `json:"weight"` // as schedulers see it; of one that is down, 0
	// ConfiguredWeight is that of the file, or of an edit; of a sorry server 0.
	ConfiguredWeight int32      `json:"configured_weight"`
	Since            *time.Time `json:"since,omitempty"`  // it is down, or rises
	State            string     `json:"state"`            // up, rising, down, draining, drained, sorry, standby
	Reason           string     `json:"reason,omitempty"` // why it is not up
	Active           int32      `json:"active"`
	Inactive         int32      `json:"inactive"`
	Persistent       int32      `json:"persistent"`
	UpperThreshold   uint32     `json:"upper_threshold"` // 0: none
	LowerThreshold   uint32     `json:"lower_threshold"`
	Overloaded       bool       `json:"overloaded"`
	Stats            Stats      `json:"stats"`
	Rates            Rates      `json:"rates"`
	NextHop          *NextHop   `json:"next_hop,omitempty"`
}

// NextHop is where frames to a real server are sent.
type NextHop struct {
	Address netip.Addr `json:"address"` // the real server or a gateway
	MAC     string     `json:"mac"`     // empty: not resolved
	Port    string     `json:"port"`    // interface
	State   string     `json:"state"`   // resolved, asking, no route, link down
}

// States of services and real servers.
const (
	StateUp         = "up"
	StateRising     = "rising" // slow start: a part of its weight
	StateDown       = "down"   // checks fail
	StateDraining   = "draining"
	StateDrained    = "drained"
	StateSorry      = "sorry"   // of a service: its sorry server answers; of a real server: it is that one
	StateStandby    = "standby" // up, but the sorry server answers
	StateQuorumLost = "quorum_lost"
)

// Conn is a session or a persistence template.
type Conn struct {
	Protocol       string         `json:"protocol"`
	State          string         `json:"state"` // IPVS's words: ESTABLISHED, UDP, NONE
	ExpiresSeconds int64          `json:"expires_seconds"`
	Client         netip.AddrPort `json:"client"` // a template: masked, port 0
	VIP            netip.AddrPort `json:"vip"`
	RealServer     netip.AddrPort `json:"real_server"`
	Flags          []string       `json:"flags"`
}
