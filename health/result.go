package health

import "time"

// Reason names why a check failed. The zero Reason is success.
type Reason string

// The reasons that every kind may have. Path checks add what the diagnosis found, see Diagnose.
const (
	ReasonRefused     Reason = "connection refused"
	ReasonTimeout     Reason = "timeout"
	ReasonUnreachable Reason = "unreachable" // the kernel, or a router, knows no way
	ReasonReset       Reason = "connection reset"
	ReasonClosed      Reason = "connection closed early"
	ReasonLocal       Reason = "cannot probe" // this host's fault: no socket, no such source address
	ReasonStatus      Reason = "wrong status code"
	ReasonDigest      Reason = "wrong digest"
	ReasonRegex       Reason = "no match"
	ReasonTooLong     Reason = "answer too long"
	ReasonGarbage     Reason = "answer not understood"
	ReasonTLS         Reason = "TLS handshake failed"
	ReasonRefusal     Reason = "server refuses" // it answers, with an error of its protocol
	ReasonReply       Reason = "wrong reply"
	ReasonExit        Reason = "exit code"
	ReasonSignal      Reason = "killed by a signal"
	ReasonFile        Reason = "file"
)

// Result is what one check of a server found.
type Result struct {
	OK     bool
	Reason Reason // "" iff OK
	Detail string // one line for people, at most MaxDetail bytes; may be empty
	// Weight is valid iff Dynamic: for a script the weight itself, for a file what is added to the
	// configured one.
	Dynamic bool
	Weight  int64
	Expires time.Time     // https: when the certificate does; zero: unknown
	Latency time.Duration // of the whole check
}

// MaxDetail bounds Result.Detail in bytes: servers choose the words in it.
const MaxDetail = 200

// Words returns reason and detail as one line.
func (r *Result) Words() string {
	if r.OK {
		return "ok"
	}
	return join(string(r.Reason), r.Detail)
}

// Words returns why, and by which check, as one line.
func (c *Change) Words() string {
	words := join(string(c.Reason), c.Detail)
	if c.Check == "" {
		return words
	}
	if words == "" {
		return c.Check
	}
	return words + " (" + c.Check + ")"
}

func join(reason, detail string) string {
	if reason == "" || detail == "" {
		return reason + detail
	}
	return reason + ": " + detail
}
