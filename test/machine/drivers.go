package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"ulvs/tuning"
)

// SetChannels changes the number of queues; queues that go take their settings with them, and new ones have the
// kernel's defaults. RSS follows if it spreads evenly, as drivers do.
func (d drivers) SetChannels(nic string, c tuning.Channels) error {
	return d.change(nic, func(s *tuning.NICSettings) error {
		now, n := s.Channels, c.Combined+c.RX
		even := equal(s.Table, now.Combined+now.RX)
		switch {
		case c.Combined > now.MaxCombined || c.RX > now.MaxRX || n == 0:
			return syscall.EINVAL
		case slices.ContainsFunc(s.Table, func(q uint32) bool { return int(q) >= n }) && !even:
			return fmt.Errorf("channel counts too low for existing indirection table: %w", syscall.EINVAL)
		case even:
			s.Table = table(len(s.Table), n)
		}
		now.Combined, now.RX, now.TX = c.Combined, c.RX, c.TX
		return errors.Join(d.setQueues(nic, "rx-", "rps_cpus", n), d.setQueues(nic, "tx-", "xps_cpus", n))
	})
}

func table(buckets, queues int) []uint32 {
	t := make([]uint32, buckets)
	for i := range t {
		t[i] = uint32(i % queues)
	}
	return t
}

func equal(t []uint32, queues int) bool { return slices.Equal(t, table(len(t), max(queues, 1))) }

func (d drivers) setQueues(nic, prefix, attribute string, n int) error {
	folder := d.root + "/sys/class/net/" + nic + "/queues/"
	like, err := os.ReadFile(folder + prefix + "0/" + attribute)
	if err != nil {
		return err
	}
	zero := strings.Map(func(c rune) rune {
		if c == ',' || c == '\n' {
			return c
		}
		return '0'
	}, string(like))
	old, err := filepath.Glob(folder + prefix + "*")
	if err != nil {
		return err
	}
	for i := n; i < len(old); i++ {
		err = errors.Join(err, os.RemoveAll(fmt.Sprint(folder, prefix, i)))
	}
	for i := len(old); i < n; i++ {
		queue := fmt.Sprint(folder, prefix, i)
		err = errors.Join(err, os.MkdirAll(queue, 0o755), os.WriteFile(queue+"/"+attribute, []byte(zero), 0o644))
	}
	return err
}

// SetRings sets the lengths of the rings.
func (d drivers) SetRings(nic string, r tuning.Rings) error {
	return d.change(nic, func(s *tuning.NICSettings) error {
		if r.RX > s.Rings.MaxRX || r.TX > s.Rings.MaxTX {
			return syscall.EINVAL
		}
		s.Rings.RX, s.Rings.TX = r.RX, r.TX
		return nil
	})
}

// SetFeature turns an offload on or off.
func (d drivers) SetFeature(nic, feature string, on bool) error {
	return d.change(nic, func(s *tuning.NICSettings) error {
		f := s.Features[feature]
		if f.Fixed {
			return syscall.EOPNOTSUPP
		}
		f.On = on
		s.Features[feature] = f
		return nil
	})
}

// SetTable sets RSS's table.
func (d drivers) SetTable(nic string, t []uint32) error {
	return d.change(nic, func(s *tuning.NICSettings) error {
		n := s.Channels.Combined + s.Channels.RX
		if len(t) != len(s.Table) || slices.ContainsFunc(t, func(q uint32) bool { return int(q) >= n }) {
			return syscall.EINVAL
		}
		s.Table = t
		return nil
	})
}
