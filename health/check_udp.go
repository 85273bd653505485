package health

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// maxStrays bounds the datagrams that answer no question of ours before a check gives up.
const maxStrays = 100

const randomPayload = 32 // bytes, when a check gives none

// datagram sends one, and waits for an ICMP error or a reply until the connection's deadline.
func datagram(conn net.Conn, c *Check) Result {
	payload := c.payload
	if payload == nil {
		payload = make([]byte, randomPayload)
		_, _ = rand.Read(payload) // never fails
	}
	if _, err := conn.Write(payload); err != nil {
		return failure(err)
	}
	reply := make([]byte, MaxReply+1)
	n, err := conn.Read(reply)
	switch {
	case err != nil && !c.RequireReply && reasonOf(err) == ReasonTimeout:
		return good() // silence
	case err != nil:
		return failure(err)
	case !c.RequireReply:
		return good()
	case n > MaxReply:
		return failed(ReasonTooLong, "more than %d bytes", MaxReply)
	case !c.reply.matches(reply[:n]):
		return failed(ReasonReply, "%s, want %s", hex.EncodeToString(reply[:min(n, 32)]), c.Reply)
	}
	return good()
}

// query asks a name server. Any answer without an error is good, also an empty one.
func query(conn net.Conn, c *Check) Result {
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: c.name, Type: c.record, Class: dnsmessage.ClassINET,
		}},
	}
	packed, err := m.Pack()
	if err != nil {
		return failed(ReasonLocal, "%v", err)
	}
	if _, err := conn.Write(packed); err != nil {
		return failure(err)
	}
	reply := make([]byte, 64<<10)
	for range maxStrays {
		n, err := conn.Read(reply)
		if err != nil {
			return failure(err)
		}
		if r, ours := answerOf(reply[:n], m.ID); ours {
			return r
		}
	}
	return failed(ReasonGarbage, "%d datagrams, none of them an answer", maxStrays)
}

// answerOf judges a datagram; ours is false if it answers another question, or is none.
func answerOf(reply []byte, id uint16) (r Result, ours bool) {
	var parser dnsmessage.Parser
	h, err := parser.Start(reply)
	if err != nil || h.ID != id || !h.Response {
		return r, false
	}
	if h.RCode != dnsmessage.RCodeSuccess {
		return failed(ReasonRefusal, "%s", rcodeWord(h.RCode)), true
	}
	return good(), true
}

// rcodeWord is the name of RFC 1035 section 4.1.1 and its successors, as dig prints it.
func rcodeWord(code dnsmessage.RCode) string {
	words := map[dnsmessage.RCode]string{
		dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeServerFailure: "SERVFAIL",
		dnsmessage.RCodeNameError: "NXDOMAIN", dnsmessage.RCodeNotImplemented: "NOTIMP", dnsmessage.RCodeRefused: "REFUSED",
	}
	if word, ok := words[code]; ok {
		return word
	}
	return code.String()
}
