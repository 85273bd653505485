package control

import (
	"net/netip"

	"ulvs/lvs"
)

// Listing is everything that an ipvsadm listing shows but the sessions: services in the order in
// which they were added, real servers in the kernel's order (newest first).
type Listing struct {
	Size     int              `json:"size"`     // 2^conn_tab_bits
	Timeouts [3]int           `json:"timeouts"` // seconds: tcp, tcpfin, udp
	Total    Counters         `json:"total"`    // of all services, for /proc/net/ip_vs_stats
	Services []ListedService  `json:"services"`
	Daemons  []lvs.SyncDaemon `json:"daemons"` // master first
	Settings lvs.Settings     `json:"settings"`
}

// Counters are counts since the last -Z, and rates by IPVS's estimator.
type Counters struct {
	Stats
	Rates Rates `json:"rates"`
}

// Rates are per second, rounded as ipvsadm --rate shows them.
type Rates struct {
	Conns      uint64 `json:"conns"`
	InPackets  uint64 `json:"in_packets"`
	OutPackets uint64 `json:"out_packets"`
	InBytes    uint64 `json:"in_bytes"`
	OutBytes   uint64 `json:"out_bytes"`
}

// ListedService is a service with its destinations.
type ListedService struct {
	Service      lvs.Service         `json:"service"` // without Destinations
	Counters     Counters            `json:"counters"`
	Destinations []ListedDestination `json:"destinations"`
}

// ListedDestination is a destination with its session counts.
type ListedDestination struct {
	Destination lvs.Destination `json:"destination"`
	Active      int             `json:"active"`
	Inactive    int             `json:"inactive"`
	Persistent  int             `json:"persistent"`
	Counters    Counters        `json:"counters"`
}

// ListedConn is a session or template as the kernel lists it in /proc/net/ip_vs_conn.
type ListedConn struct {
	Protocol       uint8          `json:"protocol"` // 0: the template of a mark service
	State          string         `json:"state"`
	ExpiresSeconds int            `json:"expires_seconds"`
	Client         netip.AddrPort `json:"client"` // a template: masked, port 0
	VIP            netip.AddrPort `json:"vip"`    // a mark's template: the mark as an address, port 0
	Dest           netip.AddrPort `json:"destination"`
	Synced         bool           `json:"synced"` // came from a peer: Origin SYNC
}
