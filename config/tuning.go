package config

// Tuning is the [tuning] section: what ulvs may change on the machine, see package tuning.
type Tuning struct {
	// Apply has ulvs run do what ulvs tune apply does, before it starts. It is not undone at the end: ulvs tune undo.
	Apply          bool `json:"apply"`
	PinIRQs        bool `json:"pin_irqs"`        // interrupts of queues go to their workers' cores
	StopIrqbalance bool `json:"stop_irqbalance"` // false: it runs, and leaves our interrupts alone
	// ReserveCores of the NIC's node get no worker. Default: none, and one with idle = "spin", whose workers never
	// leave theirs.
	ReserveCores int `json:"reserve_cores"`
}

// maxCPUs is more than kernels are built for.
const maxCPUs = 8192

func tuningSection(t *table, idle Idle) Tuning {
	defer t.done()
	reserve := int64(0)
	if idle == IdleSpin {
		reserve = 1
	}
	return Tuning{
		Apply: t.flag("apply"), PinIRQs: t.flagOr("pin_irqs", true), StopIrqbalance: t.flagOr("stop_irqbalance", true),
		ReserveCores: int(t.number("reserve_cores", span{def: reserve, max: maxCPUs})),
	}
}
