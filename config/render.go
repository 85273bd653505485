package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ulvs/lvs"
)

// keyValue is a key of a service or real server as the file has it.
type keyValue struct {
	key   string
	value string // in TOML; empty: cannot be said but by leaving the key out
	leave bool   // leaving the key out says the same
}

// serviceValues are a service's keys but those that tell it from others, and its real servers'. What c says
// of its health comes last; c may be nil.
func serviceValues(s *lvs.Service, c *Care, in inherit) []keyValue {
	values := []keyValue{
		{"scheduler", quote(s.Scheduler), s.Scheduler == "wlc"},
		{"flags", flagList(s), s.SchedFlags == 0},
		{"persistence_timeout", "", s.Persistence == 0},
		{"persistence_granularity", "", !s.MasksClients()},
		{"one_packet", strconv.FormatBool(s.OnePacket), !s.OnePacket},
	}
	if s.Persistence != 0 {
		values[2].value = quote(durationWord(s.Persistence))
	}
	switch {
	case s.PersistWild != 0:
		values[3].value = quote(lvs.DottedMask4(s.ClientMask4()))
	case s.PersistBits != 0:
		values[3].value = strconv.Itoa(int(s.PersistBits))
	}
	values = append(values, policyValues(&s.Policy, in)...)
	if c == nil {
		c = &Care{}
	}
	return append(values, careValues(c.Keys, careReaders())...)
}

// policyValues are the keys of a policy.
func policyValues(p *lvs.Policy, in inherit) []keyValue {
	values := []keyValue{
		{"on_failure", "", p.OnFailure == lvs.FailDefault},
		{"slow_start", "", p.SlowStart == 0},
		{"sorry_server", "", !p.Sorry.Server.IsValid()},
		{"sorry_server_method", "", !p.Sorry.Server.IsValid() || p.Sorry.Method == in.method},
		{"sorry_server_inhibit", strconv.FormatBool(p.SorryInhibit), !p.SorryInhibit},
	}
	if p.OnFailure != lvs.FailDefault {
		values[0].value = quote(p.OnFailure.String())
	}
	if p.SlowStart != 0 {
		values[1].value = quote(durationWord(p.SlowStart))
	}
	if p.Sorry.Server.IsValid() {
		values[2].value = quote(p.Sorry.Server.String())
		values[3].value = quote(p.Sorry.Method.String())
	}
	return values
}

// destValues are a real server's keys but its address; k are those about its health.
func destValues(d *lvs.Destination, k Keys, in inherit) []keyValue {
	values := []keyValue{
		{"weight", strconv.Itoa(int(d.Weight)), d.Weight == 1},
		{"upper_threshold", strconv.FormatUint(uint64(d.Upper), 10), d.Upper == 0},
		{"lower_threshold", strconv.FormatUint(uint64(d.Lower), 10), d.Lower == 0},
		{"inhibit_on_failure", strconv.FormatBool(d.Inhibit), d.Inhibit == in.inhibit},
	}
	values = append(values, forwardValues(inherit{method: d.Method, tunnel: d.Tunnel}, in)...)
	return append(values, careValues(k, serverCareReaders())...)
}

// forwardValues are the keys of a method and its tunnel.
func forwardValues(f, in inherit) []keyValue {
	same := f.tunnel == in.tunnel
	values := []keyValue{
		{"method", quote(f.method.String()), f.method == in.method},
		{"tunnel_type", "", same}, {"tunnel_port", "", same}, {"tunnel_checksum", "", same},
	}
	if f.method != lvs.MethodTUN {
		return values
	}
	values[1].value = quote(wordAt(tunnelTypes(), int(f.tunnel.Type)))
	if f.tunnel.Type == lvs.TunnelGUE {
		values[2].value = strconv.Itoa(int(f.tunnel.Port))
	}
	if f.tunnel.Type != lvs.TunnelIPIP {
		values[3].value = quote(wordAt(tunnelChecksums(), int(f.tunnel.Checksum)))
	}
	return values
}

// wordAt returns a word, or what Parse refuses if there is none.
func wordAt(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("number %d", i)
}

func flagList(s *lvs.Service) string {
	words, bits := flagBits(s.Scheduler)
	var out []string
	left := s.SchedFlags
	for _, w := range words {
		if left&bits[w] != 0 {
			out, left = append(out, quote(w)), left&^bits[w]
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		return ""
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// durationWord is 6m, 50s or 1h30m instead of Go's 6m0s.
func durationWord(d time.Duration) string {
	text := d.String()
	for _, zero := range []struct{ end, unit string }{{"m0s", "m"}, {"h0m", "h"}} {
		if strings.HasSuffix(text, zero.end) {
			text = strings.TrimSuffix(text, zero.end) + zero.unit
		}
	}
	return text
}

// renderService writes a service anew. Real servers take the last one's method from the service.
func renderService(s *lvs.Service, c *Care, indent string) string {
	var b strings.Builder
	b.WriteString("[[service]]\n")
	in := inherit{}
	if n := len(s.Destinations); n > 0 {
		last := &s.Destinations[n-1]
		in = inherit{last.Method, last.Tunnel, last.Inhibit}
	}
	in.inhibit = in.inhibit || s.Policy.OnFailure == lvs.FailInhibit
	writeValues(&b, "", identity(s.Key))
	writeValues(&b, "", forwardValues(in, inherit{}))
	writeValues(&b, "", serviceValues(s, c, in))
	writeValues(&b, "", []keyValue{
		{"inhibit_on_failure", "true", !in.inhibit || s.Policy.OnFailure == lvs.FailInhibit},
	})
	for i := range slices.Backward(s.Destinations) {
		d := &s.Destinations[i]
		b.WriteString("\n" + renderDest(d, c.Server(d.AddrPort()), in, indent))
	}
	return b.String()
}

// identity tells a service from others.
func identity(k lvs.ServiceKey) []keyValue {
	if k.Mark != 0 {
		family := "ipv4"
		if k.Addr.Is6() {
			family = "ipv6"
		}
		return []keyValue{{"mark", strconv.FormatUint(uint64(k.Mark), 10), false},
			{"family", quote(family), family == "ipv4"}}
	}
	return []keyValue{{"vip", quote(k.AddrPort().String()), false},
		{"protocol", quote(lvs.ProtoName(k.Proto)), k.Proto == lvs.ProtoTCP}}
}

func renderDest(d *lvs.Destination, k Keys, in inherit, indent string) string {
	var b strings.Builder
	b.WriteString(indent + "[[service.real_server]]\n")
	writeValues(&b, indent, []keyValue{{"address", quote(d.AddrPort().String()), false}})
	writeValues(&b, indent, destValues(d, k, in))
	return b.String()
}

func writeValues(b *strings.Builder, indent string, values []keyValue) {
	for _, v := range values {
		if v.value != "" && !v.leave {
			fmt.Fprintf(b, "%s%s = %s\n", indent, v.key, v.value)
		}
	}
}
