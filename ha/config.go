package ha

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"ulvs/packet"
)

// Defaults of an instance, keepalived's unless the comment says otherwise.
const (
	DefaultPriority    = 100
	DefaultAdvertInt   = time.Second
	DefaultDownAdverts = 3
	DefaultGARPDelay   = 5 * time.Second
	DefaultGARPRepeat  = 5
	// DefaultGARPRefresh is ours (keepalived: never): a neighbour that learned a wrong owner in a split is
	// mended within a minute.
	DefaultGARPRefresh = time.Minute
	// MaxPreemptDelay is keepalived's.
	MaxPreemptDelay = 1000 * time.Second
	// MinAdvertInt is what version 3 can say.
	MinAdvertInt = centisecond

	// PriorityOwner is of the director whose addresses the VIPs are: nothing lowers it.
	PriorityOwner = 255
	// PriorityGiveUp is that of a last advert.
	PriorityGiveUp = 0
)

// Instance is a vrrp_instance as configured.
type Instance struct {
	Name      string
	Interface string
	Source    netip.Addr // what adverts come from: the interface's primary (IPv6: link-local) address
	Version   uint8      // 2 or 3
	VRID      uint8
	Priority  uint8
	AdvertInt time.Duration
	VIPs      []netip.Addr // in the adverts
	Excluded  []netip.Addr // held like the VIPs, not in the adverts
	Auth      AuthType     // version 2: AuthNone or AuthPass
	Password  [8]byte
	Peers     []netip.Addr // unicast; none: multicast

	InitialMaster bool // state MASTER: the first wait is one advert, not three
	NoPreempt     bool
	PreemptDelay  time.Duration
	DownAdverts   int // adverts missed before the master is dead

	GARPDelay            time.Duration // of the second burst; 0: none
	GARPRepeat           int           // announcements of each VIP in the second burst
	GARPLowerRepeat      int           // after a lower master was heard
	GARPRefresh          time.Duration // 0: never
	LowerPrioNoAdvert    bool          // do not answer a lower master's advert with one
	HigherPrioSendAdvert bool          // answer a higher one with a last advert of ours
	DemandClaims         bool          // refuse adverts of a sender whose director made no claim over gossip
	UseVMAC              bool          // the VIPs are at VRRP's own MAC address; the machine does not care
}

// Unit is what changes state together: a sync group, or one instance.
type Unit struct {
	Name      string
	Instances []Instance
	// Quorum has a majority of the directors decide who holds the unit.
	Quorum bool
	// Gateway says that the unit's gateway is asked, and EventGateway comes: until the first one it does not answer.
	Gateway bool
}

// Config is what a Machine is made of.
type Config struct {
	Node  string // our name among the directors
	Units []Unit
	// Directors is how many there are, this one included. In quorum mode a majority of them decides.
	Directors int
	// Quorum puts every unit into quorum mode.
	Quorum bool
	// Abstain is until when this director neither votes nor asks for votes: what it voted before it was restarted is
	// not known.
	Abstain Time
	// Gossip tells that claims are exchanged: a master that is silent is asked another way first.
	Gossip bool
	// Terms are the highest ones that ActionTerm reported in earlier lives, by unit.
	Terms map[string]uint32
	// Resume names the units that this director was the owner of a moment ago, in another process: it goes on.
	Resume map[string]bool
	// Start is the time that the machine begins at.
	Start Time
}

// Time is monotonic time since any fixed moment.
type Time = time.Duration

// Never is a deadline that does not come.
const Never Time = 1<<63 - 1

// WithDefaults returns i with keepalived's defaults where it says nothing. GARPDelay and GARPRefresh stay, since
// 0 turns them off.
func (i Instance) WithDefaults() Instance {
	if i.Version == 0 {
		i.Version = 2
		if i.Source.Is6() {
			i.Version = 3
		}
	}
	if i.Priority == 0 {
		i.Priority = DefaultPriority
	}
	if i.AdvertInt == 0 {
		i.AdvertInt = DefaultAdvertInt
	}
	if i.DownAdverts == 0 {
		i.DownAdverts = DefaultDownAdverts
	}
	if i.GARPRepeat == 0 {
		i.GARPRepeat = DefaultGARPRepeat
	}
	if i.GARPLowerRepeat == 0 {
		i.GARPLowerRepeat = i.GARPRepeat
	}
	if i.NoPreempt && i.Priority == PriorityOwner {
		i.NoPreempt = false // keepalived: cleared, an owner always preempts
	}
	return i
}

// Validate returns everything that is wrong with the instance, joined.
func (i *Instance) Validate() error {
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("vrrp %s: "+format, append([]any{i.Name}, args...)...))
	}
	if i.VRID == 0 {
		add("virtual_router_id is missing: 1 to 255")
	}
	if len(i.VIPs) > MaxAddrs {
		add("%d vips, an advert holds %d: move some to vips_excluded", len(i.VIPs), MaxAddrs)
	}
	for _, vip := range i.VIPs {
		if i.Source.IsValid() && vip.Is4() != i.Source.Is4() {
			add("vip %s is not of the family of the adverts' source %s: move it to vips_excluded", vip, i.Source)
		}
	}
	errs = append(errs, i.validateVersion(add))
	if i.PreemptDelay < 0 || i.PreemptDelay > MaxPreemptDelay {
		add("preempt_delay %s is not within 0s to %s", i.PreemptDelay, MaxPreemptDelay)
	}
	if i.DownAdverts < 1 || i.DownAdverts > 100 {
		add("down_timer_adverts %d is not within 1 to 100", i.DownAdverts)
	}
	return errors.Join(errs...)
}

func (i *Instance) validateVersion(add func(string, ...any)) error {
	switch i.Version {
	case 2:
		if i.Source.Is6() {
			add("version 2 is IPv4 only: use version 3")
		}
		if i.AdvertInt%time.Second != 0 || i.AdvertInt < time.Second || i.AdvertInt > MaxIntervalV2 {
			add("advert_int %s: version 2 takes whole seconds from 1s to %s; version 3 takes from %s",
				i.AdvertInt, MaxIntervalV2, MinAdvertInt)
		}
	case 3:
		if i.AdvertInt%centisecond != 0 || i.AdvertInt < MinAdvertInt || i.AdvertInt > MaxIntervalV3 {
			add("advert_int %s: version 3 takes multiples of 10ms from %s to %s", i.AdvertInt, MinAdvertInt, MaxIntervalV3)
		}
		if i.Auth != AuthNone {
			add("authentication is version 2's: version 3 has none")
		}
	default:
		add("version %d: 2 or 3", i.Version)
	}
	return nil
}

// VirtualMAC is the address of the instance's virtual router (RFC 5798 section 7.3), whether it is used or not.
func (i *Instance) VirtualMAC() packet.MAC {
	family := byte(1)
	if i.Family6() {
		family = 2
	}
	return packet.MAC{0x00, 0x00, 0x5e, 0x00, family, i.VRID}
}

// Family6 reports whether adverts go over IPv6: by their source, else by the first VIP.
func (i *Instance) Family6() bool {
	if i.Source.IsValid() || len(i.VIPs) == 0 {
		return i.Source.Is6()
	}
	return i.VIPs[0].Is6()
}
