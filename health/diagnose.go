package health

import (
	"context"
	"fmt"
	"time"

	"ulvs/lvs"
)

// What is wrong with a real server that answers on its own address, but not to clients.
const (
	ReasonVIP     Reason = "answers on its own address but not on the VIP: VIP missing on lo?"
	ReasonTunnel  Reason = "answers on its own address but not through the tunnel: decapsulation or VIP missing?"
	ReasonGateway Reason = "answers on its own address but not through the director: default gateway not the director?"
	ReasonListen  Reason = "answers on its own address but refuses on the VIP: is its server bound to one address?"
	ReasonPath    Reason = "passes on its own address but not on the clients' path"
)

// diagnosisTime bounds the second question: the first one has used the time that a check has.
const diagnosisTime = time.Second

// diagnose asks the server at its own address, and says what the two answers mean together.
func (p *Prober) diagnose(ctx context.Context, q *Probe, path Result) Result {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTime)
	defer cancel()
	direct := *q
	direct.Target = q.Target.Direct()
	r := p.ask(ctx, &direct)
	switch {
	case r.Reason == ReasonLocal:
		return path
	case !r.OK && r.Reason != path.Reason:
		r.Detail = oneLine(fmt.Sprintf("%s (on its own address; %s on the clients' path)", r.Detail, path.Reason))
		return r
	case !r.OK:
		return path
	}
	return Result{
		Reason: pathReason(q.Target.Method, path.Reason), Expires: path.Expires,
		Detail: oneLine(fmt.Sprintf("%s at %s", path.Words(), q.Target.Address)),
	}
}

func pathReason(m lvs.Method, why Reason) Reason {
	switch {
	case why == ReasonRefused && m != lvs.MethodNAT:
		return ReasonListen
	case why != ReasonTimeout && why != ReasonUnreachable:
		return ReasonPath
	case m == lvs.MethodTUN:
		return ReasonTunnel
	case m == lvs.MethodNAT:
		return ReasonGateway
	}
	return ReasonVIP
}
