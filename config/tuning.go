package config

// Tuning is the [tuning] section: what ulvs may change on the machine, see package tuning.
type Tuning struct {
	// Apply has ulvs run do what ulvs tune apply does, before it starts. It is not undone at the end: ulvs tune undo.
	Apply          bool `json:"apply"`
	PinIRQs        bool `json:"pin_irqs"`        // interrupts of queues go to their workers' cores
	StopIrqbalance bool `json:"stop_irqbalance"` // false: it runs, and leaves our interrupts alone
}

func tuningSection(t *table) Tuning {
	defer t.done()
	return Tuning{
		Apply: t.flag("apply"), PinIRQs: t.flagOr("pin_irqs", true), StopIrqbalance: t.flagOr("stop_irqbalance", true),
	}
}
