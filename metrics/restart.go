package metrics

import "ulvs/control"

// restarted describes what a director found of the one before.
func (f *families) restarted() {
	f.restartKept = f.gauge("restart_kept",
		"1 if somebody keeps the sessions beyond the process; keeper says who.", "keeper")
	f.restartGeneration = f.gauge("restart_generation", "Directors in a row that have gone on with one table.")
	f.restartSessions = f.gauge("restart_sessions",
		"Sessions of the director before, by what became of them at the start: recovered, template, torn, no_service, "+
			"no_real_server, twice, full, expired.",
		"outcome")
	f.restartShards = f.gauge("restart_memory_dropped", "Memory of the director before that could not be read.")
	f.restartSeconds = f.gauge("restart_recovery_seconds", "Time that bringing sessions back took at the start.")
	f.restartGap = f.gauge("restart_gap_seconds",
		"Time from the last sign of life of the director before to the first frame of this one; 0: there was none.")
}

type restartFamilies struct {
	restartKept, restartGeneration, restartSessions, restartShards, restartSeconds, restartGap *Family
}

func (w *writer) restart(r *control.Restart) {
	w.flag(w.restartKept, r.Keeper != "off" && r.Reason == "", r.Keeper)
	w.count(w.restartGeneration, r.Generation)
	for _, o := range []struct {
		outcome string
		n       int
	}{
		{"recovered", r.Sessions}, {"template", r.Templates}, {"torn", r.Torn}, {"no_service", r.NoService},
		{"no_real_server", r.NoRealServer}, {"twice", r.Twice}, {"full", r.Full}, {"expired", r.Expired},
	} {
		w.put(w.restartSessions, float64(o.n), o.outcome)
	}
	w.put(w.restartShards, float64(r.ShardsDropped))
	w.put(w.restartSeconds, r.Seconds)
	w.put(w.restartGap, r.GapSeconds)
}
