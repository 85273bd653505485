package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Limits and defaults of the [node] section.
const (
	maxNameBytes      = 64
	maxInterfaceBytes = 15  // IFNAMSIZ - 1
	maxSocketBytes    = 107 // sun_path - 1
	maxCPU            = 1023
	maxNodeInterfaces = 64
)

func spanConnTabBits() span { return span{8, 27, 20} } // 20: a million sessions, the source document's value
func spanMaxConns() span    { return span{0, 1<<28 - 1, 0} }
func spanWorkers() span     { return span{1, 256, 0} }
func spanFrames() span      { return span{1024, 1 << 20, 8192} }

// Defaults of ipvsadm --set.
const (
	defaultTCP    = 15 * time.Minute
	defaultTCPFin = 2 * time.Minute
	defaultUDP    = 5 * time.Minute
)

// parser collects the problems of one file.
type parser struct {
	file     string
	opt      Options
	problems []problem
	inherits []inherit
	care     []Care
}

// decode returns the file as maps, nil after a syntax error.
func (p *parser) decode(text []byte) *table {
	switch {
	case len(text) > MaxFileBytes:
		p.fail("", "the file is larger than %d MiB; split the services over directors", MaxFileBytes>>20)
	case strings.TrimSpace(string(text)) == "":
		p.fail("", "the file is empty; give at least [node] with interfaces, see: ulvs config example")
	default:
		return p.decodeTOML(text)
	}
	return nil
}

func (p *parser) decodeTOML(text []byte) *table {
	if line := scan(text).tooDeep; line != 0 {
		msg := "brackets nest too deep; a list of tables is as deep as it gets"
		p.problems = append(p.problems, problem{line: line, msg: msg})
		return nil
	}
	m, err := decodeMap(text)
	if err != nil {
		pr := problem{line: 1, msg: err.Error()}
		if syntax, ok := errors.AsType[toml.ParseError](err); ok {
			pr.line, pr.msg = max(syntax.Position.Line, 1), "not TOML: "+syntax.Message
		}
		p.problems = append(p.problems, pr)
		return nil
	}
	return &table{p: p, m: m}
}

// decodeMap turns a panic of the library, which input must never cause in ulvs, into an error.
func decodeMap(text []byte) (m map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not TOML: %v", r)
		}
	}()
	_, err = toml.Decode(string(text), &m)
	return m, err
}

func (p *parser) config(root *table) *Config {
	c := &Config{}
	if !root.has("node") {
		p.fail("node", "missing; give [node] with interfaces = [\"eth0\"]")
	} else if t, ok := root.table("node"); ok {
		c.Node = p.node(t)
	}
	t, _ := root.table("timeouts")
	c.Timeouts = timeouts(t)
	c.Settings = p.settings(root)
	t, _ = root.table("tuning")
	c.Tuning = tuningSection(t, c.Node.Idle)
	p.sight(c, root)
	c.services = p.services(root.tables("service"))
	c.inherits, c.care = p.inherits, p.care
	c.marks = p.marks(root.tables("mark"), c.Node.Interfaces)
	c.Takeover = p.takeover(root)
	c.Sync = p.sync(root)
	c.IPVSSync = p.ipvsSync(root, &c.Takeover)
	p.quorum(&c.Takeover, &c.Sync)
	p.virtualMACs(&c.Takeover, c.Node.VIPMode)
	c.Restart = p.restart(root)
	root.done()
	return c
}

func (p *parser) node(t *table) Node {
	n := Node{
		Name:          p.nodeName(t),
		Interfaces:    p.interfaces(t),
		ConnTabBits:   int(t.number("conn_tab_bits", spanConnTabBits())),
		MaxConns:      int(t.number("max_conns", spanMaxConns())),
		Workers:       int(t.autoOr("workers", spanWorkers())),
		CPUs:          p.cpus(t),
		IO:            IO(t.word("io", string(IOAFXDP), string(IOAsavie))),
		XDPMode:       XDPMode(t.word("xdp_mode", string(XDPAuto), string(XDPZeroCopy), string(XDPCopy), string(XDPGeneric))),
		VIPMode:       VIPMode(t.word("vip_mode", string(VIPUser), string(VIPNetlink))),
		ControlSocket: controlSocket(t),
		StateDir:      t.stateDir(),
		Frames:        frames(t),
		Idle:          Idle(t.word("idle", string(IdleAuto), string(IdleSpin), string(IdlePoll))),
		ProbePorts:    probePorts(t),
	}
	if n.CPUs != nil && n.Workers > len(n.CPUs) {
		t.fail("cpus", "too few for %d workers: %d; give one core for each worker", n.Workers, len(n.CPUs))
	}
	t.done()
	return n
}

func (p *parser) nodeName(t *table) string {
	name := t.text("name", `a name like "lvs1"`)
	switch {
	case len(name) > maxNameBytes:
		t.fail("name", "%d bytes long; give up to %d", len(name), maxNameBytes)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		t.fail("name", "%q has blanks or control characters; give one word", name)
	case name == "" && p.opt.Hostname != "":
		return p.opt.Hostname
	case name == "":
		return "ulvs"
	}
	return name
}

func (p *parser) interfaces(t *table) []string {
	names := t.texts("interfaces", `a list like ["eth0"]`)
	if _, present := t.m["interfaces"]; len(names) == 0 && (!present || isEmptyList(t.m["interfaces"])) {
		t.fail("interfaces", `no interfaces; give the NICs that carry VIP traffic: interfaces = ["eth0"]`)
	}
	if len(names) > maxNodeInterfaces {
		t.fail("interfaces", "%d interfaces; give up to %d", len(names), maxNodeInterfaces)
		return names
	}
	for i, name := range names {
		p.interfaceName(fmt.Sprintf("%s[%d]", t.key("interfaces"), i), name, names[:i])
	}
	return names
}

func isEmptyList(v any) bool {
	list, ok := v.([]any)
	return ok && len(list) == 0
}

func (p *parser) interfaceName(path, name string, before []string) {
	switch {
	case slices.Contains(before, name):
		p.fail(path, "%q is given twice; remove one", name)
	case name == "" || len(name) > maxInterfaceBytes || strings.ContainsAny(name, "/ \t\r\n\x00"):
		p.fail(path, "%.60q is no interface name; give one of 1 to %d characters, see: ip link", name, maxInterfaceBytes)
	case p.opt.Interfaces != nil:
		if err := p.opt.Interfaces(name); err != nil {
			p.fail(path, "%v", err)
		}
	}
}

// cpus reads "auto" (nil) or a list of cores.
func (p *parser) cpus(t *table) []int {
	if !t.has("cpus") || t.m["cpus"] == "auto" {
		return nil
	}
	list, ok := t.m["cpus"].([]any)
	if !ok || len(list) == 0 {
		t.fail("cpus", "not a list of cores; give \"auto\" or a list like [2, 3]")
		return nil
	}
	limit := int64(maxCPU)
	if p.opt.CPUs > 0 {
		limit = int64(p.opt.CPUs - 1)
	}
	cpus := make([]int, 0, len(list))
	for i, v := range list {
		path := t.key("cpus") + "[" + strconv.Itoa(i) + "]"
		n, ok := v.(int64)
		switch {
		case !ok:
			p.fail(path, "%s; give a core's number", describe(v))
		case n < 0 || n > limit:
			p.fail(path, "no core %d; give 0 to %d", n, limit)
		case slices.Contains(cpus, int(n)):
			p.fail(path, "core %d is given twice; remove one", n)
		default:
			cpus = append(cpus, int(n))
		}
	}
	return cpus
}

func controlSocket(t *table) string {
	path := t.text("control_socket", fmt.Sprintf("a path like %q", DefaultControlSocket))
	switch {
	case path == "":
		return DefaultControlSocket
	case !filepath.IsAbs(path) || strings.ContainsRune(path, 0):
		t.fail("control_socket", "%.60q is not an absolute path; give one like %s", path, DefaultControlSocket)
	case len(path) > maxSocketBytes:
		t.fail("control_socket", "%d bytes long; a unix socket's path has up to %d", len(path), maxSocketBytes)
	}
	return path
}

func (t *table) stateDir() string {
	path := t.text("state_directory", fmt.Sprintf("a path like %q", DefaultStateDir))
	switch {
	case path == "":
		return DefaultStateDir
	case !filepath.IsAbs(path) || strings.ContainsRune(path, 0):
		t.fail("state_directory", "%.60q is not an absolute path; give one like %s", path, DefaultStateDir)
	}
	return path
}

func frames(t *table) int {
	n := t.number("frames", spanFrames())
	if n&(n-1) != 0 {
		up := int64(1) << int(math.Ceil(math.Log2(float64(n))))
		t.fail("frames", "%d is no power of two; give %d or %d", n, up/2, up)
	}
	return int(n)
}

func timeouts(t *table) Timeouts {
	defer t.done()
	return Timeouts{
		TCP:    t.duration("tcp", defaultTCP),
		TCPFin: t.duration("tcpfin", defaultTCPFin),
		UDP:    t.duration("udp", defaultUDP),
	}
}
