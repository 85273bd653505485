package events

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Kind is what an event is about.
type Kind string

// The kinds of events. Infos says what each means.
const (
	Started             Kind = "started"
	Stopping            Kind = "stopping"
	SessionsRecovered   Kind = "sessions_recovered"
	MemoryDropped       Kind = "memory_dropped"
	Upgraded            Kind = "upgraded"
	UpgradeFailed       Kind = "upgrade_failed"
	Restart             Kind = "restart"
	ConfigReloaded      Kind = "config_reloaded"
	ConfigRefused       Kind = "config_refused"
	ConfigEdited        Kind = "config_edited"
	ServiceAdded        Kind = "service_added"
	ServiceRemoved      Kind = "service_removed"
	ServerAdded         Kind = "server_added"
	ServerRemoved       Kind = "server_removed"
	ServerUp            Kind = "server_up"
	ServerDown          Kind = "server_down"
	ServerDraining      Kind = "server_draining"
	ServerDrained       Kind = "server_drained"
	ServerEnabled       Kind = "server_enabled"
	QuorumUp            Kind = "quorum_up"
	QuorumDown          Kind = "quorum_down"
	SorryIn             Kind = "sorry_in"
	SorryOut            Kind = "sorry_out"
	CertificateExpiring Kind = "certificate_expiring"
	InterfaceGone       Kind = "interface_gone"
	InterfaceReturned   Kind = "interface_returned"
	WorkersRestarted    Kind = "workers_restarted"
	ZeroCopyFailed      Kind = "zero_copy_failed"
	VRRPTransition      Kind = "vrrp_transition"
	OwnerConflict       Kind = "owner_conflict"
	OwnerMissing        Kind = "owner_missing"
	OwnerReturned       Kind = "owner_returned"
	VRRPAlarm           Kind = "vrrp_alarm"
	PeerJoined          Kind = "peer_joined"
	PeerLeft            Kind = "peer_left"
	SyncReady           Kind = "sync_ready"
	SyncLag             Kind = "sync_lag"
	TemplateRebuilt     Kind = "template_rebuilt"
)

// Info is what an operator should know of a Kind.
type Info struct {
	Kind  Kind
	Level slog.Level // Warn: somebody should look; Error: clients notice
	Help  string
}

// Infos lists all kinds. A kind that is not here is logged as Info.
var Infos = []Info{
	{Started, slog.LevelInfo, "forwarding began; count: services"},
	{Stopping, slog.LevelInfo, "the director was asked to stop"},
	{SessionsRecovered, slog.LevelInfo, "sessions of the director before were found again; count: how many"},
	{MemoryDropped, slog.LevelWarn, "what the director before left could not be read"},
	{Upgraded, slog.LevelInfo, "this process went on in another one's place; from, to: versions"},
	{UpgradeFailed, slog.LevelWarn, "an upgrade came to nothing; the old process goes on"},
	{Restart, slog.LevelInfo, "the director was restarted with its sessions kept; count: sessions"},
	{ConfigReloaded, slog.LevelInfo, "the file was read again; count: changes"},
	{ConfigRefused, slog.LevelError, "the file has errors or cannot be applied; nothing was changed"},
	{ConfigEdited, slog.LevelInfo, "something was changed by hand; reason: what"},
	{ServiceAdded, slog.LevelInfo, "a service was added by hand; count: real servers"},
	{ServiceRemoved, slog.LevelInfo, "a service was removed by hand"},
	{ServerAdded, slog.LevelInfo, "a real server was added by hand; to: its weight"},
	{ServerRemoved, slog.LevelInfo, "a real server was removed by hand"},
	{ServerUp, slog.LevelInfo, "checks succeed: a real server takes clients again"},
	{ServerDown, slog.LevelWarn, "checks fail: a real server was kicked"},
	{ServerDraining, slog.LevelInfo, "a real server takes no new clients; count: sessions left"},
	{ServerDrained, slog.LevelInfo, "a draining real server has no sessions left, or its time is over"},
	{ServerEnabled, slog.LevelInfo, "a drained real server takes clients again"},
	{QuorumUp, slog.LevelInfo, "a service has enough real servers again"},
	{QuorumDown, slog.LevelError, "a service has too few real servers"},
	{SorryIn, slog.LevelWarn, "the sorry server answers for a service"},
	{SorryOut, slog.LevelInfo, "the real servers answer for a service again"},
	{CertificateExpiring, slog.LevelWarn, "a real server's certificate expires soon"},
	{InterfaceGone, slog.LevelError, "an interface is out of service until it returns"},
	{InterfaceReturned, slog.LevelInfo, "an interface is in service again"},
	{ZeroCopyFailed, slog.LevelWarn, "a driver granted zero-copy and moved nothing: frames are copied; reason: what " +
		"was missing"},
	{WorkersRestarted, slog.LevelWarn, "packet I/O was opened anew; reason: why. Sessions stay"},
	{VRRPTransition, slog.LevelWarn, "a VRRP instance changed its state; count: its priority"},
	{VRRPAlarm, slog.LevelError, "something is wrong about the takeover; reason: what"},
	{OwnerConflict, slog.LevelError, "two directors hold one VIP"},
	{OwnerMissing, slog.LevelError, "no director holds a VIP, as far as this one hears"},
	{OwnerReturned, slog.LevelInfo, "one director holds the VIP again, after none or two did"},
	{PeerJoined, slog.LevelInfo, "a director joined"},
	{PeerLeft, slog.LevelWarn, "a director left or does not answer"},
	{SyncReady, slog.LevelInfo, "all sessions of the peer are here; count: sessions"},
	{SyncLag, slog.LevelWarn, "sessions arrive late or not at all"},
	{TemplateRebuilt, slog.LevelWarn, "a persistence template was made anew from its clients' sessions"},
}

// InfoOf returns what is known of k.
func InfoOf(k Kind) Info {
	if i := slices.IndexFunc(Infos, func(i Info) bool { return i.Kind == k }); i >= 0 {
		return Infos[i]
	}
	return Info{Kind: k}
}

// ParseKinds reads names of kinds separated by commas. Nothing means all: no kinds.
func ParseKinds(text string) (kinds []Kind, err error) {
	for word := range strings.SplitSeq(text, ",") {
		k := Kind(strings.TrimSpace(word))
		if k == "" {
			continue
		}
		if InfoOf(k).Help == "" {
			return nil, fmt.Errorf("%.40q is no kind of event; there are %s", word, strings.Join(KindNames(), ", "))
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

// KindNames returns the names of all kinds, in the order of Infos.
func KindNames() []string {
	names := make([]string, len(Infos))
	for i := range Infos {
		names[i] = string(Infos[i].Kind)
	}
	return names
}
