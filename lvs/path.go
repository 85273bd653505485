package lvs

// LearnMTU notes that packets over mtu bytes do not get to the destination, until the given tick of the
// connection table's clock: a router on a tunnel's way said so.
func (l *Load) LearnMTU(mtu uint16, until uint32) {
	l.path.Store(uint64(mtu) | uint64(until)<<32)
}

// PathMTU returns what LearnMTU noted, 0 if nothing or its time is over.
func (l *Load) PathMTU(now uint32) uint16 {
	v := l.path.Load()
	if uint32(v>>32) <= now {
		return 0
	}
	return uint16(v)
}
