package ipvsadm

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"ulvs/lvs"
)

// maxTimeout is ipvsadm's limit of -p and --set, in seconds.
const maxTimeout = 31 * 24 * 3600

// maxSyncLen is what a UDP packet over IPv4 holds, in bytes.
const maxSyncLen = 65535 - 20 - 8

// request is a command line understood. Options take effect in their order, as in the original:
// -t sets the mask anew, -r takes the port of a -t before it.
type request struct {
	cmd    tag
	given  optionSet
	family family // of the service; none until -t, -u, --sctp-service or -f
	edit   lvs.Edit

	mask4      uint32 // of a service that is not IPv6
	bits6      int    // of an IPv6 service
	engine     string
	schedFlags string
	destFamily family
}

// family is an address family as far as a command line has told it.
type family uint8

const (
	familyNone family = iota
	family4
	family6
)

// parse reads a command line up to what needs no director.
func (r *runner) parse(args []string) (*request, error) {
	s := &scanner{args: args}
	q := &request{mask4: math.MaxUint32, bits6: 128}
	q.edit.Dest.Weight = 1
	o, arg, _, err := s.scan()
	if err != nil || o == nil {
		return nil, tryHelp()
	}
	if err := r.first(q, o.tag, arg); err != nil {
		return nil, err
	}
	if err := r.parseOptions(q, s); err != nil {
		return nil, err
	}
	if err := q.leftover(s.rest); err != nil {
		return nil, err
	}
	if err := q.parseSchedFlags(); err != nil {
		return nil, err
	}
	if err := rulesOf(q.cmd).check(q.given, q.cmd.word(), "command"); err != nil {
		return nil, err
	}
	return q, q.check()
}

// first takes the command, which must come first.
func (r *runner) first(q *request, cmd tag, arg string) error {
	switch {
	case cmd == cmdHelp:
		r.printHelp()
		return &exit{ExitOK, "", true}
	case cmd == cmdVersion:
		r.printVersion()
		return &exit{ExitOK, "", true}
	case cmd >= tagIPv6:
		return tryHelp()
	}
	q.cmd = cmd
	if arg != "master" && arg != "backup" {
		switch cmd {
		case cmdStartDaemon:
			return fail("illegal start-daemon parameter specified")
		case cmdStopDaemon:
			return fail("illegal start_daemon specified")
		}
	}
	q.edit.Sync.Role = arg
	return nil
}

func (r *runner) parseOptions(q *request, s *scanner) error {
	for {
		o, arg, given, err := s.scan()
		if err != nil {
			// popt's own complaints end a line of -R, but not -R.
			return &exit{ExitRefused, fmt.Sprintf("%s: %v", s.bad(), err), false}
		}
		if o == nil {
			return nil
		}
		if o.tag < tagIPv6 {
			return fail("invalid option `%s'", s.bad())
		}
		if err := q.once(o.tag); err != nil {
			return err
		}
		if err := r.option(q, o.tag, arg, given); err != nil {
			return err
		}
	}
}

// once notes that an option is given, which may happen once.
func (q *request) once(t tag) error {
	switch t {
	case tagIPv6, tagSort:
		return nil
	case tagTCP, tagUDP, tagSCTP, tagMark:
		t = tagService
	case tagMasquerading, tagIPIP, tagGatewaying:
		t = tagForward
	}
	if q.given.has(t) {
		return fail("multiple '%s' options specified", t.word())
	}
	q.given |= setOf(t)
	return nil
}

// option takes one option's value.
func (r *runner) option(q *request, t tag, arg string, given bool) error {
	switch t {
	case tagTCP, tagUDP, tagSCTP:
		return r.serviceAddress(q, t, arg)
	case tagServer:
		return r.serverAddress(q, arg)
	case tagNetmask:
		return r.netmask(q, arg)
	case tagMark, tagIPv6, tagScheduler, tagPersistent, tagOnePacket, tagEngine, tagSchedFlags:
		return q.serviceOption(t, arg, given)
	case tagSyncID, tagSyncMaxLen, tagMcastInterface, tagMcastGroup, tagMcastPort, tagMcastTTL:
		return q.daemonOption(t, arg)
	}
	return q.serverOption(t, arg)
}

func (r *runner) serviceAddress(q *request, t tag, arg string) error {
	q.edit.Key.Proto = map[tag]uint8{tagTCP: lvs.ProtoTCP, tagUDP: lvs.ProtoUDP, tagSCTP: lvs.ProtoSCTP}[t]
	a, ok := parseAddress(arg, q.edit.Key.Proto, r.names)
	if !ok {
		return fail("illegal virtual server address[:port] specified")
	}
	q.edit.Key.Addr, q.edit.Key.Port = a.addr, a.port
	q.family = family4
	if a.addr.Is6() {
		q.family, q.bits6 = family6, 128
	}
	return nil
}

func (r *runner) serverAddress(q *request, arg string) error {
	a, ok := parseAddress(arg, q.edit.Key.Proto, r.names)
	if !ok {
		return fail("illegal real server address[:port] specified")
	}
	if !a.hasPort {
		a.port = q.edit.Key.Port
	}
	q.edit.Dest.Addr, q.edit.Dest.Port = a.addr, a.port
	q.destFamily = family4
	if a.addr.Is6() {
		q.destFamily = family6
	}
	return nil
}

func (r *runner) netmask(q *request, arg string) error {
	if q.family == family6 {
		if q.bits6 = atoi(arg); q.bits6 < 1 || q.bits6 > 128 {
			return fail("illegal ipv6 netmask specified")
		}
		return nil
	}
	mask, ok := parseHost(arg, r.names)
	if !ok {
		return fail("illegal virtual server persistent mask specified")
	}
	b := mask.As4()
	q.mask4 = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return nil
}

// serviceOption takes what describes a service.
func (q *request) serviceOption(t tag, arg string, given bool) error {
	s := &q.edit.Service
	switch t {
	case tagMark:
		n, ok := parseNumber(arg, 1, math.MaxUint32)
		if !ok {
			return fail("invalid fwmark value `%s' specified", arg)
		}
		q.edit.Key, q.family = lvs.ServiceKey{Addr: netip.IPv4Unspecified(), Mark: uint32(n)}, family4
	case tagIPv6:
		if q.edit.Key.Mark == 0 {
			return fail("-6 used before -f\n")
		}
		q.edit.Key.Addr, q.family, q.bits6 = netip.IPv6Unspecified(), family6, 128
	case tagScheduler:
		s.Scheduler = arg
	case tagPersistent:
		s.Persistence = lvs.DefaultPersistence
		if given {
			n, err := parseTimeout(arg, 1)
			if err != nil {
				return err
			}
			s.Persistence = time.Duration(n) * time.Second
		}
	case tagOnePacket:
		s.OnePacket = true
	case tagEngine:
		q.engine = arg
	case tagSchedFlags:
		q.schedFlags = arg
	}
	return nil
}

func parseTimeout(arg string, least int64) (int, error) {
	n, ok := parseNumber(arg, least, maxTimeout)
	if !ok {
		return 0, fail("invalid timeout value `%s' specified", arg)
	}
	return int(n), nil
}

// serverOption takes what describes a real server. Options without a value are done by once.
func (q *request) serverOption(t tag, arg string) error {
	d := &q.edit.Dest
	var n int64
	ok := true
	switch t {
	case tagMasquerading:
		d.Method = lvs.MethodNAT
	case tagIPIP:
		d.Method = lvs.MethodTUN
	case tagGatewaying:
		d.Method = lvs.MethodDR
	case tagWeight:
		n, ok = parseNumber(arg, 0, lvs.MaxWeight)
		d.Weight = int32(n)
	case tagUpper:
		n, ok = parseNumber(arg, 0, math.MaxInt32)
		d.Upper = uint32(n)
	case tagLower:
		n, ok = parseNumber(arg, 0, math.MaxInt32)
		d.Lower = uint32(n)
	case tagTunType:
		d.Tunnel.Type, ok = parseTunType(arg)
	case tagTunPort:
		n, ok = parseNumber(arg, 1, math.MaxUint16)
		d.Tunnel.Port = uint16(n)
	case tagTunCsum:
		d.Tunnel.Checksum = 1
	case tagTunRemCsum:
		d.Tunnel.Checksum = 2
	}
	if !ok {
		return fail("illegal %s specified", illegalWord(t))
	}
	return nil
}

// illegalWord is how messages about bad values call an option.
func illegalWord(t tag) string {
	switch t {
	case tagUpper:
		return "u_threshold"
	case tagLower:
		return "l_threshold"
	case tagTunType:
		return "tunnel type"
	case tagTunPort:
		return "tunnel port"
	}
	return t.word()
}

func parseTunType(arg string) (lvs.TunnelType, bool) {
	switch arg {
	case "ipip":
		return lvs.TunnelIPIP, true
	case "gue":
		return lvs.TunnelGUE, true
	case "gre":
		return lvs.TunnelGRE, true
	}
	return 0, false
}

// daemonOption takes what describes a sync daemon.
func (q *request) daemonOption(t tag, arg string) error {
	d := &q.edit.Sync
	if t == tagMcastInterface {
		d.Interface = arg
		return nil
	}
	if t == tagMcastGroup {
		return q.mcastGroup(arg)
	}
	limit := map[tag]struct {
		low, high int64
		to        *int
	}{
		tagSyncID: {0, 255, &d.SyncID}, tagSyncMaxLen: {1, maxSyncLen, &d.MaxLen},
		tagMcastPort: {1, 65535, &d.Port}, tagMcastTTL: {1, 255, &d.TTL},
	}[t]
	n, ok := parseNumber(arg, limit.low, limit.high)
	if !ok {
		return fail("illegal %s specified", t.word())
	}
	*limit.to = int(n)
	return nil
}

func (q *request) mcastGroup(arg string) error {
	kind := "IPv4"
	if strings.Contains(arg, ":") {
		kind = "IPv6"
	}
	a, err := netip.ParseAddr(arg)
	if err != nil || a.Zone() != "" || !a.IsMulticast() {
		return fail("invalid %s mcast-group `%s'", kind, arg)
	}
	q.edit.Sync.Group = a.String()
	return nil
}

// leftover takes the arguments of --set; no other command has any.
func (q *request) leftover(rest []string) error {
	if q.cmd == cmdTimeout {
		if len(rest) < 3 {
			return fail("--set option requires 3 timeout values")
		}
		for i := range q.edit.Timeouts {
			n, err := parseTimeout(rest[i], 0)
			if err != nil {
				return err
			}
			q.edit.Timeouts[i] = n
		}
		rest = rest[3:]
	}
	if len(rest) > 0 {
		return fail("unexpected argument %s", rest[0])
	}
	return nil
}

// parseSchedFlags reads -b when the scheduler is known.
func (q *request) parseSchedFlags() error {
	scheduler := q.edit.Service.Scheduler
	if scheduler == "" {
		scheduler = defaultScheduler
	}
	for _, word := range strings.FieldsFunc(q.schedFlags, func(c rune) bool { return c == ',' }) {
		flag, of := schedFlag(word)
		switch {
		case flag == 0:
			return fail("invalid scheduler flag `%s'", word)
		case of != "" && of != scheduler:
			return fail("incompatible scheduler flag `%s'", word)
		}
		q.edit.Service.SchedFlags |= flag
	}
	return nil
}

// schedFlag returns the flag for a word, and the scheduler that alone knows the word.
func schedFlag(word string) (flag lvs.SchedFlags, of string) {
	switch word {
	case "flag-1":
		return lvs.SchedFallback, ""
	case "flag-2":
		return lvs.SchedPort, ""
	case "flag-3":
		return lvs.SchedFlag3, ""
	case "sh-fallback", "mh-fallback":
		return lvs.SchedFallback, word[:2]
	case "sh-port", "mh-port":
		return lvs.SchedPort, word[:2]
	}
	return 0, ""
}
