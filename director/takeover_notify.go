package director

import (
	"context"
	"slices"
	"strconv"
	"time"

	"ulvs/config"
	"ulvs/ha"
	"ulvs/internal/runner"
)

// notifyTimeout ends a program that is told of a state.
const notifyTimeout = 60 * time.Second

// commandsFor returns what is run for a state, the general one last, with keepalived's arguments.
func commandsFor(n *config.VRRPNotify, kind, name string, s ha.State, priority uint8) (list [][]string) {
	special := map[ha.State][]string{
		ha.StateMaster: n.Master, ha.StateBackup: n.Backup, ha.StateFault: n.Fault, ha.StateStop: n.Stop,
	}[s]
	if special != nil {
		list = append(list, special)
	}
	if n.Any != nil {
		list = append(list, append(slices.Clone(n.Any), kind, name, s.String(), strconv.Itoa(int(priority))))
	}
	return list
}

func (t *takeover) notify(in *takeoverInstance, s ha.State, priority uint8) {
	t.tellScripts(commandsFor(&in.Notify, "INSTANCE", in.Name, s, priority))
}

// notifyGroup tells the programs of a sync group.
func (t *takeover) notifyGroup(a *ha.Action) {
	for i := range t.conf.Groups {
		if g := &t.conf.Groups[i]; g.Name == t.units[a.Unit].Name {
			t.tellScripts(commandsFor(&g.Notify, "GROUP", g.Name, a.State, a.Claim.Prio))
		}
	}
}

// tellScripts has programs run one after the other, in the order of the state changes, without waiting for them.
func (t *takeover) tellScripts(list [][]string) {
	for _, argv := range list {
		run := func() {
			command := runner.Command{Args: argv, Timeout: notifyTimeout, KeepChildren: true}
			out, err := t.runner.Run(context.Background(), command)
			if err != nil || out.Code != 0 {
				t.d.log.Warn("notify script failed", "script", argv[0], "code", out.Code, "timed_out", out.TimedOut,
					"err", err)
			}
		}
		select {
		case t.notifies <- run:
		default:
			t.d.log.Warn("notify script not run: too many wait", "script", argv[0])
		}
	}
}

// runNotifies runs the programs, what is left when the takeover ended included.
func (t *takeover) runNotifies() {
	defer close(t.told)
	for {
		select {
		case run := <-t.notifies:
			run()
		case <-t.done:
			for len(t.notifies) > 0 {
				(<-t.notifies)()
			}
			return
		}
	}
}
