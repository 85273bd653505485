package afxdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"ulvs/packet"
)

// Drivers have said yes to zero-copy and then moved nothing. So each socket that got it shows before it is used that
// frames go out and that the driver takes chunks to receive into; if one does not, all of the Set copy.

const (
	// selfTestLimit is how long a driver may take: setting its queues up anew takes the slow ones a second.
	selfTestLimit = 3 * time.Second
	selfTestPause = 2 * time.Millisecond
	// etherTypeTest is for local experiments (IEEE 802, 88B5): nobody takes the frame for anything.
	etherTypeTest = 0x88b5
)

// errSelfTest is the reason for copies that Info tells.
var errSelfTest = errors.New("zero-copy was granted and does not work")

// selfTest tries every port whose link is up. waited is called between two looks, and ends the test with false.
func (s *Set) selfTest(macOf func(Interface) (mac net.HardwareAddr, up bool), waited func() bool) error {
	var tried []int
	before := make([]int, len(s.ports))
	for i := range s.ports {
		before[i] = s.ports[i].fill.used()
		mac, up := macOf(s.opts.Interfaces[i])
		if !up || len(mac) != 6 {
			s.opts.Log.Info("zero-copy is not tried out: no link", "interface", s.opts.Interfaces[i].Name)
			continue
		}
		if !s.sendTest(uint8(i), mac) {
			return fmt.Errorf("%w: %s takes no frame", errSelfTest, s.opts.Interfaces[i].Name)
		}
		tried = append(tried, i)
	}
	for {
		err := error(nil)
		for _, i := range tried {
			if err = s.ports[i].tested(before[i]); err != nil {
				err = fmt.Errorf("%w: %s %w", errSelfTest, s.opts.Interfaces[i].Name, err)
				break
			}
		}
		if err == nil || !waited() {
			return err
		}
	}
}

// sendTest sends a frame to our own address, which the next switch drops.
func (s *Set) sendTest(port uint8, mac net.HardwareAddr) bool {
	frames := make([]packet.Frame, 1)
	if s.Alloc(frames) != 1 || !frames[0].Resize(60) {
		return false
	}
	b := frames[0].Bytes()
	clear(b)
	copy(b, mac)
	copy(b[6:], mac)
	binary.BigEndian.PutUint16(b[12:], etherTypeTest)
	frames[0].Port = port
	return s.Send(frames) == 1
}

// tested says what has not been seen yet of a port that had so many chunks in its fill ring.
func (p *port) tested(filled int) error {
	p.service()
	if p.tx.needWakeup() {
		p.kick()
	}
	p.reap()
	p.k.kickRX()
	switch {
	case p.inTX > 0:
		return fmt.Errorf("has not sent a frame in %v", selfTestLimit)
	case p.fill.used() >= filled:
		return fmt.Errorf("has taken no chunk to receive into in %v", selfTestLimit)
	}
	return nil
}

// patience ends a test after selfTestLimit.
func patience() func() bool {
	end := time.Now().Add(selfTestLimit)
	return func() bool {
		time.Sleep(selfTestPause)
		return time.Now().Before(end)
	}
}

// linkOf returns an interface's address, and whether frames can leave by it.
func linkOf(i Interface) (net.HardwareAddr, bool) {
	ifi, err := net.InterfaceByIndex(i.Index)
	if err != nil {
		return nil, false
	}
	return ifi.HardwareAddr, ifi.Flags&net.FlagRunning != 0
}

// allZeroCopy reports whether there is something to test.
func (s *Set) allZeroCopy() bool {
	for i := range s.info {
		if !s.info[i].ZeroCopy {
			return false
		}
	}
	return len(s.info) > 0
}

// fallBack opens everything anew in copy mode. No driver keeps the chunks of a queue that is bound again.
func (s *Set) fallBack(why error) error {
	s.opts.Log.Warn("zero-copy does not work, using copy mode", "queue", s.opts.Queue, "err", why)
	if err := s.closeSockets(); err != nil {
		return err
	}
	s.umem = newUMEM(s.mem, s.opts.FrameSize)
	s.ports, s.info, s.next = nil, nil, 0
	if err := s.openAs(ModeCopy); err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	for i := range s.info {
		s.info[i].Fallback = why.Error()
	}
	return nil
}
