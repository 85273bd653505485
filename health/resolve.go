package health

import (
	"time"

	"ulvs/lvs"
)

// keepalived's defaults.
const (
	DefaultDelayLoop      = 60 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	defaultRetry          = 1
	defaultRetryDelay     = time.Second
	defaultRetryHTTP      = 3 * time.Second
	defaultRetryDNS       = 3
	defaultFileLoop       = time.Second // keepalived watches the file; this looks at it
	defaultHelo           = "smtpchecker.keepalived.org"
	defaultStatus         = "200-299"
)

// Resolve returns the check with everything decided: what s leaves out comes from c (a real
// server's values, on top of its service's), else it is keepalived's default of the kind. Probes
// of services with a VIP go down the path where the kind can and no other address is asked for.
func (s Spec) Resolve(c Common, service lvs.ServiceKey) Spec {
	s.Common = s.Common.Or(c)
	if !s.Kind.connects() || service.Mark != 0 || s.ConnectIP.IsValid() {
		s.Via = ViaAddress
	} else if s.Via == "" {
		s.Via = ViaPath
	}
	s.resolveTimes()
	s.Alpha.Set = true
	switch s.Kind {
	case KindHTTP, KindHTTPS:
		s.resolveHTTP()
	case KindDNS:
		s.Name, s.Record = orText(s.Name, "."), orText(s.Record, "SOA")
	case KindSMTP:
		s.HeloName = orText(s.HeloName, defaultHelo)
	}
	return s
}

func (s *Spec) resolveTimes() {
	loop, retry, delay := DefaultDelayLoop, defaultRetry, defaultRetryDelay
	switch s.Kind {
	case KindHTTP, KindHTTPS:
		delay = defaultRetryHTTP
	case KindDNS:
		retry = defaultRetryDNS
	case KindScript:
		retry = 0
	case KindFile:
		loop, retry = defaultFileLoop, 0
		s.DelayLoop, s.Retry = Opt[time.Duration]{}, Opt[int]{} // it has no timers of its own
	}
	s.DelayLoop = s.DelayLoop.Or(Some(loop))
	if s.Kind == KindDNS {
		delay = s.DelayLoop.Value
	}
	s.ConnectTimeout = s.ConnectTimeout.Or(Some(DefaultConnectTimeout))
	s.Retry = s.Retry.Or(Some(retry))
	s.DelayBeforeRetry = s.DelayBeforeRetry.Or(Some(delay))
	s.Warmup = s.Warmup.Or(s.DelayLoop)
	s.Timeout = s.Timeout.Or(s.DelayLoop)
}

func (s *Spec) resolveHTTP() {
	s.HTTPProtocol = orText(s.HTTPProtocol, "1.0")
	urls := make([]URL, len(s.URLs))
	for i, u := range s.URLs {
		u.StatusCode = orText(u.StatusCode, defaultStatus)
		u.VirtualHost = orText(u.VirtualHost, s.VirtualHost)
		urls[i] = u
	}
	s.URLs = urls
}

func orText(s, other string) string {
	if s != "" {
		return s
	}
	return other
}
