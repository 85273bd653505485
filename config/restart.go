package config

import "time"

// Keep is who keeps the sessions while no director runs.
type Keep string

// The keepers.
const (
	KeepAuto    Keep = "auto"    // systemd where the unit has a store for descriptors, else a keeper of our own
	KeepSystemd Keep = "systemd" // FileDescriptorStoreMax= of the unit
	KeepKeeper  Keep = "keeper"  // a small process, ulvs keep
	KeepOff     Keep = "off"     // nobody: sessions end with the process
)

// Restart is the [restart] section.
type Restart struct {
	Keep Keep `json:"keep"`
	// AfterCrash and AfterStop are how long a keeper of our own stays without a director; systemd has
	// FileDescriptorStorePreserve=.
	AfterCrash time.Duration `json:"after_crash_ns"`
	AfterStop  time.Duration `json:"after_stop_ns"` // 0: an orderly stop ends the sessions
}

const (
	defaultAfterCrash = 5 * time.Minute // a person looks at it first
	defaultAfterStop  = time.Minute     // a restart is over by then
)

// restart reads [restart].
func (p *parser) restart(root *table) Restart {
	t, _ := root.table("restart")
	defer t.done()
	return Restart{
		Keep:       Keep(t.word("keep", string(KeepAuto), string(KeepSystemd), string(KeepKeeper), string(KeepOff))),
		AfterCrash: t.duration("after_crash", defaultAfterCrash),
		AfterStop:  t.period("after_stop", defaultAfterStop),
	}
}
