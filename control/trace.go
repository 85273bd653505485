package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Tracer is a Backend that says where a packet would go. It changes and counts nothing.
type Tracer interface {
	// Trace explains a packet of a flow. The error says what is wrong with the question.
	Trace(f Flow) (Trace, error)
}

// Flow is the packet that a trace is about.
type Flow struct {
	Protocol string         // tcp, udp, icmp
	Src, Dst netip.AddrPort // icmp: port 0
	Flags    string         // tcp: syn, ack, fin, rst; empty: syn
	Port     string         // the interface that it arrives on; empty: where the route to its source leads
}

// Trace says what would become of a packet, and why.
type Trace struct {
	Flow       string         `json:"flow"`
	Port       string         `json:"port"` // it arrives on
	Mark       uint32         `json:"mark,omitempty"`
	Service    string         `json:"service,omitempty"` // as events name it
	Session    bool           `json:"session"`           // it belongs to one
	Reply      bool           `json:"reply"`             // of a NAT session
	Template   bool           `json:"template"`          // decided
	RealServer netip.AddrPort `json:"real_server"`       // zero: none
	Certain    bool           `json:"certain"`           // false: the scheduler draws lots
	NextHop    *NextHop       `json:"next_hop,omitempty"`
	Verdict    string         `json:"verdict"` // the counter's name; hold: it waits for its next hop
	Steps      []string       `json:"steps"`   // why, in the pipeline's order
}

// ParseFlow reads "tcp 192.0.2.1:40000 > 192.168.1.8:80", "tcp ... ack", "icmp 192.0.2.1 > 192.168.1.8".
func ParseFlow(text string) (f Flow, err error) {
	const form = `"tcp 192.0.2.1:40000 > 192.168.1.8:80", "udp [2001:db8::1]:4000 > [2001:db8::8]:53" or "icmp A > B"`
	words := strings.Fields(strings.ReplaceAll(text, ">", " > "))
	if len(words) < 4 || len(words) > 5 || words[2] != ">" {
		return f, fmt.Errorf("%.80q is no flow; give one like %s", text, form)
	}
	f.Protocol = strings.ToLower(words[0])
	for i, to := range []*netip.AddrPort{&f.Src, &f.Dst} {
		if *to, err = endpoint(words[1+2*i], f.Protocol == "icmp"); err != nil {
			return f, fmt.Errorf("%w; give a flow like %s", err, form)
		}
	}
	if len(words) == 5 {
		f.Flags = strings.ToLower(words[4])
	}
	return f, f.check()
}

func endpoint(text string, icmp bool) (netip.AddrPort, error) {
	if icmp {
		addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("%.60q is no address", text)
		}
		return netip.AddrPortFrom(addr, 0), nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil || ap.Port() == 0 {
		return ap, fmt.Errorf("%.60q is no address with a port", text)
	}
	return ap, nil
}

func (f *Flow) check() error {
	switch f.Protocol {
	case "tcp", "udp", "icmp":
	default:
		return fmt.Errorf("protocol %.20q cannot be traced; give tcp, udp or icmp", f.Protocol)
	}
	if f.Src.Addr().Is4() != f.Dst.Addr().Is4() || f.Src.Addr().Zone()+f.Dst.Addr().Zone() != "" {
		return errors.New("the addresses are not of one family, or have a zone")
	}
	switch f.Flags {
	case "", "syn", "ack", "fin", "rst":
	default:
		return fmt.Errorf("%.20q is no TCP flag; give syn, ack, fin or rst", f.Flags)
	}
	if f.Flags != "" && f.Protocol != "tcp" {
		return errors.New("only tcp has flags")
	}
	return nil
}

// String returns the flow as ParseFlow reads it.
func (f *Flow) String() string {
	src, dst := f.Src.String(), f.Dst.String()
	if f.Protocol == "icmp" {
		src, dst = f.Src.Addr().String(), f.Dst.Addr().String()
	}
	return strings.TrimSpace(f.Protocol + " " + src + " > " + dst + " " + f.Flags)
}

const (
	paramFlow = "flow"
	paramPort = "port"
)

var errNoTracer = errors.New("this director traces no packets")

func (s *Server) routeTrace(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/trace", s.trace)
	mux.HandleFunc("/v1/trace", s.onlyMethod(http.MethodGet))
}

func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	t, ok := s.backend.(Tracer)
	if !ok {
		s.refuse(w, http.StatusNotImplemented, errNoTracer)
		return
	}
	q := newQuery(r.URL.Query(), paramFlow, paramPort)
	f, err := ParseFlow(q.values.Get(paramFlow))
	if q.err != nil {
		err = q.err
	}
	f.Port = q.values.Get(paramPort)
	var out Trace
	if err == nil {
		out, err = t.Trace(f)
	}
	if err != nil {
		s.refuse(w, http.StatusBadRequest, err)
		return
	}
	out.Steps = notNil(out.Steps)
	s.answer(w, http.StatusOK, out)
}

// Trace asks what would become of a packet.
func (c *Client) Trace(ctx context.Context, f Flow) (out Trace, err error) {
	return out, c.call(ctx, "/v1/trace", encode(paramFlow, f.String(), paramPort, f.Port), &out)
}
