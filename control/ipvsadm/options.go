package ipvsadm

// tag is a command or an option. Those below tagIPv6 are the commands; from tagNumeric on they
// are in the order in which ipvsadm checks whether they fit the command.
type tag uint8

const (
	tagNone tag = iota
	cmdAdd
	cmdEdit
	cmdDelete
	cmdFlush
	cmdList
	cmdAddDest
	cmdDeleteDest
	cmdEditDest
	cmdTimeout
	cmdStartDaemon
	cmdStopDaemon
	cmdRestore
	cmdSave
	cmdZero
	cmdHelp
	cmdVersion

	tagIPv6
	tagSort
	tagTCP
	tagUDP
	tagSCTP
	tagMark
	tagMasquerading
	tagIPIP
	tagGatewaying

	tagNumeric
	tagConnection
	tagService // -t, -u, --sctp-service, -f
	tagScheduler
	tagPersistent
	tagNetmask
	tagServer
	tagForward // -g, -i, -m
	tagWeight
	tagUpper
	tagLower
	tagMcastInterface
	tagShowTimeout
	tagShowDaemon
	tagStats
	tagRate
	tagThresholds
	tagPersistentConn
	tagNoSort
	tagSyncID
	tagExact
	tagOnePacket
	tagEngine
	tagSchedFlags
	tagMcastGroup
	tagMcastPort
	tagMcastTTL
	tagSyncMaxLen
	tagTunInfo
	tagTunType
	tagTunPort
	tagTunNoCsum
	tagTunCsum
	tagTunRemCsum
	numTags
)

// options is the command line of ipvsadm 1.31.
var options = []option{
	{"add-service", 'A', argNone, cmdAdd},
	{"edit-service", 'E', argNone, cmdEdit},
	{"delete-service", 'D', argNone, cmdDelete},
	{"clear", 'C', argNone, cmdFlush},
	{"list", 'L', argNone, cmdList},
	{"list", 'l', argNone, cmdList},
	{"zero", 'Z', argNone, cmdZero},
	{"add-server", 'a', argNone, cmdAddDest},
	{"edit-server", 'e', argNone, cmdEditDest},
	{"delete-server", 'd', argNone, cmdDeleteDest},
	{"set", 0, argNone, cmdTimeout},
	{"help", 'h', argNone, cmdHelp},
	{"version", 'v', argNone, cmdVersion},
	{"restore", 'R', argNone, cmdRestore},
	{"save", 'S', argNone, cmdSave},
	{"start-daemon", 0, argOne, cmdStartDaemon},
	{"stop-daemon", 0, argOne, cmdStopDaemon},
	{"tcp-service", 't', argOne, tagTCP},
	{"udp-service", 'u', argOne, tagUDP},
	{"sctp-service", 0, argOne, tagSCTP},
	{"fwmark-service", 'f', argOne, tagMark},
	{"ipv6", '6', argNone, tagIPv6},
	{"scheduler", 's', argOne, tagScheduler},
	{"persistent", 'p', argMaybe, tagPersistent},
	{"netmask", 'M', argOne, tagNetmask},
	{"real-server", 'r', argOne, tagServer},
	{"masquerading", 'm', argNone, tagMasquerading},
	{"ipip", 'i', argNone, tagIPIP},
	{"gatewaying", 'g', argNone, tagGatewaying},
	{"weight", 'w', argOne, tagWeight},
	{"u-threshold", 'x', argOne, tagUpper},
	{"l-threshold", 'y', argOne, tagLower},
	{"connection", 'c', argNone, tagConnection},
	{"numeric", 'n', argNone, tagNumeric},
	{"timeout", 0, argNone, tagShowTimeout},
	{"daemon", 0, argNone, tagShowDaemon},
	{"stats", 0, argNone, tagStats},
	{"rate", 0, argNone, tagRate},
	{"thresholds", 0, argNone, tagThresholds},
	{"persistent-conn", 0, argNone, tagPersistentConn},
	{"nosort", 0, argNone, tagNoSort},
	{"sort", 0, argNone, tagSort},
	{"exact", 'X', argNone, tagExact},
	{"ops", 'o', argNone, tagOnePacket},
	{"pe", 0, argOne, tagEngine},
	{"sched-flags", 'b', argOne, tagSchedFlags},
	{"syncid", 0, argOne, tagSyncID},
	{"sync-maxlen", 0, argOne, tagSyncMaxLen},
	{"mcast-interface", 0, argOne, tagMcastInterface},
	{"mcast-group", 0, argOne, tagMcastGroup},
	{"mcast-port", 0, argOne, tagMcastPort},
	{"mcast-ttl", 0, argOne, tagMcastTTL},
	{"tun-info", 0, argNone, tagTunInfo},
	{"tun-type", 0, argOne, tagTunType},
	{"tun-port", 0, argOne, tagTunPort},
	{"tun-nocsum", 0, argNone, tagTunNoCsum},
	{"tun-csum", 0, argNone, tagTunCsum},
	{"tun-remcsum", 0, argNone, tagTunRemCsum},
}

// word is the name of an option or command in messages.
func (t tag) word() string {
	switch t {
	case tagService:
		return "service-address"
	case tagForward:
		return "forwarding-method"
	case cmdFlush:
		return "flush"
	}
	if o := findOption(func(o *option) bool { return o.tag == t }); o != nil {
		return o.long
	}
	return ""
}

// optionSet is a set of tags from tagNumeric on.
type optionSet uint64

func setOf(tags ...tag) (s optionSet) {
	for _, t := range tags {
		s |= 1 << (t - tagNumeric)
	}
	return s
}

func (s optionSet) has(t tag) bool { return s&setOf(t) != 0 }

// rules are what a command needs, what it allows besides, and which options exclude each other.
type rules struct{ need, allow, one optionSet }

// rulesOf are ipvsadm's. A command that it does not list allows nothing.
func rulesOf(cmd tag) rules {
	service, server := setOf(tagService), setOf(tagService, tagServer)
	switch cmd {
	case cmdAdd, cmdEdit:
		return rules{need: service, allow: setOf(tagScheduler, tagPersistent, tagNetmask, tagOnePacket, tagEngine,
			tagSchedFlags)}
	case cmdDelete:
		return rules{need: service}
	case cmdAddDest, cmdEditDest:
		return rules{need: server, allow: setOf(tagForward, tagWeight, tagUpper, tagLower, tagTunType, tagTunPort,
			tagTunNoCsum, tagTunCsum, tagTunRemCsum)}
	case cmdDeleteDest:
		return rules{need: server}
	case cmdList:
		return rules{one: service | setOf(tagConnection, tagShowTimeout, tagShowDaemon),
			allow: setOf(tagNumeric, tagStats, tagRate, tagThresholds, tagPersistentConn, tagNoSort, tagSyncID,
				tagExact, tagTunInfo)}
	case cmdStartDaemon:
		return rules{allow: setOf(tagMcastInterface, tagSyncID, tagMcastGroup, tagMcastPort, tagMcastTTL, tagSyncMaxLen)}
	case cmdStopDaemon:
		return rules{allow: setOf(tagSyncID)}
	case cmdSave:
		return rules{allow: setOf(tagNumeric)}
	case cmdZero:
		return rules{allow: service}
	}
	return rules{}
}

// check reports the first option, in ipvsadm's order, that is missing, illegal or one too many.
func (c rules) check(given optionSet, name, kind string) error {
	last := tagNone
	for t := tagNumeric; t < numTags; t++ {
		switch {
		case !given.has(t) && c.need.has(t):
			return fail("You need to supply the '%s' option for the '%s' %s", t.word(), name, kind)
		case !given.has(t):
		case !(c.need | c.allow | c.one).has(t):
			return fail("Illegal '%s' option with the '%s' %s", t.word(), name, kind)
		case c.one.has(t) && last != tagNone:
			return fail("The option '%s' conflicts with the '%s' option in the '%s' %s", t.word(), last.word(), name, kind)
		case c.one.has(t):
			last = t
		}
	}
	return nil
}
