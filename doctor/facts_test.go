package doctor_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"ulvs/control"
	"ulvs/doctor"
	"ulvs/health"
)

// down are real servers that the director's checks say are down, one for each reason.
func down() (list []control.ServerHealth) {
	for i, reason := range []string{string(health.ReasonVIP), string(health.ReasonGateway), string(health.ReasonTunnel),
		"connection refused"} {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(16 + i)})
		list = append(list, control.ServerHealth{Address: netip.AddrPortFrom(addr, 80), Reason: reason})
	}
	return list
}

func TestWhatCannotBeExaminedIsSaidAndNoFinding(t *testing.T) {
	m, st := tuned(t)
	p := patient(t, m, doctor.Facts{Status: st})
	p.Rules = func(context.Context) ([]byte, error) { return nil, errors.New("no permission") }
	r := doctor.Examine(context.Background(), p, nil)
	if !r.Healthy || len(r.Unknown) != 1 || r.Unknown[0] != "packet filter: no permission" {
		t.Errorf("healthy %v, unknown %q", r.Healthy, r.Unknown)
	}
	p.Rules = func(context.Context) ([]byte, error) { return []byte("{"), nil }
	if r := doctor.Examine(context.Background(), p, nil); len(r.Unknown) != 1 {
		t.Errorf("rules that are none: unknown %q", r.Unknown)
	}
}

func TestAnExaminationReportsEveryProbeOnce(t *testing.T) {
	m, st := tuned(t)
	seen := map[string]int{}
	p := patient(t, m, doctor.Facts{Status: st})
	r := doctor.Examine(context.Background(), p, func(p doctor.Probe) { seen[p.Name]++ })
	for _, p := range r.Probes {
		if seen[p.Name] != 1 {
			t.Errorf("%s was reported %d times", p.Name, seen[p.Name])
		}
	}
	if len(seen) != len(r.Probes) || len(seen) < 10 {
		t.Errorf("%d probes reported, %d in the result", len(seen), len(r.Probes))
	}
}
