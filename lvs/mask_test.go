package lvs

import "testing"

func TestAMaskIsAPrefixLengthWhereItCanBe(t *testing.T) {
	for _, c := range []struct {
		mask uint32
		bits uint8
		wild uint32
	}{
		{0xffffffff, 0, 0}, {0xffffff00, 24, 0}, {0x80000000, 1, 0}, {0, 0, 0xffffffff},
		{0xff00ff00, 0, 0x00ff00ff}, {1, 0, 0xfffffffe},
	} {
		s := Service{PersistBits: 7, PersistWild: 7}
		s.SetClientMask4(c.mask)
		if s.PersistBits != c.bits || s.PersistWild != c.wild || s.ClientMask4() != c.mask {
			t.Errorf("%08x: %d bits, wild %08x, mask %08x", c.mask, s.PersistBits, s.PersistWild, s.ClientMask4())
		}
		if s.MasksClients() != (c.mask != 0xffffffff) {
			t.Errorf("%08x: MasksClients %v", c.mask, s.MasksClients())
		}
	}
	if m := DottedMask4(0xff00ff00); m != "255.0.255.0" {
		t.Error(m)
	}
}
