package director

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ulvs/health"
	"ulvs/internal/runner"
	"ulvs/lvs"
)

// Limits of notify_up, notify_down, quorum_up and quorum_down.
const (
	maxHealthScripts  = 16               // at once
	healthScriptTime  = 60 * time.Second // then it is stopped
	maxScriptBacklog  = 64               // of one service; then the oldest are given up
	closeScriptsAfter = 5 * time.Second  // when the director ends
)

// scripts runs the operator's scripts for changes of health: those of one service one after the other, so that
// "up" never overtakes "down".
type scripts struct {
	log    *slog.Logger
	runner *runner.Runner
	ctx    context.Context
	stop   context.CancelFunc
	all    sync.WaitGroup

	mu    sync.Mutex
	queue map[lvs.ServiceKey][]runner.Command // there is one while somebody works on it
}

func newScripts(log *slog.Logger) *scripts {
	s := &scripts{log: log, runner: runner.New(maxHealthScripts), queue: map[lvs.ServiceKey][]runner.Command{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// run has a script run soon. It does not wait.
func (s *scripts) run(ch *health.Change, argv []string) {
	env := []string{
		"ULVS_EVENT=" + string(ch.Kind), "ULVS_SERVICE=" + ch.Service.String(), "ULVS_REASON=" + ch.Words(),
	}
	if ch.Server.IsValid() {
		env = append(env, "ULVS_REAL_SERVER="+ch.Server.String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, busy := s.queue[ch.Service]
	if len(list) == maxScriptBacklog {
		s.log.Warn("script given up: too many wait", "service", ch.Service, "script", list[0].Args[0])
		list = list[1:]
	}
	s.queue[ch.Service] = append(list, runner.Command{Args: argv, Env: env, Timeout: healthScriptTime, KeepChildren: true})
	if !busy {
		s.all.Go(func() { s.runQueue(ch.Service) })
	}
}

// runQueue runs a service's scripts until none is left.
func (s *scripts) runQueue(key lvs.ServiceKey) {
	for {
		s.mu.Lock()
		list := s.queue[key]
		if len(list) == 0 {
			delete(s.queue, key)
			s.mu.Unlock()
			return
		}
		next := list[0]
		s.queue[key] = list[1:]
		s.mu.Unlock()
		out, err := s.runner.Run(s.ctx, next)
		if err != nil || out.TimedOut || out.Code != 0 {
			s.log.Warn("script failed", "service", key, "script", next.Args[0], "err", err, "exit", out.Code,
				"timed_out", out.TimedOut)
		}
	}
}

// close waits a while for scripts that run, and stops them.
func (s *scripts) close() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.all.Wait()
	}()
	t := time.AfterFunc(closeScriptsAfter, s.stop)
	defer t.Stop()
	<-done
	s.stop()
}
