package afxdp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// nlattr is a netlink attribute on a little-endian host.
func nlattr(kind uint16, value ...byte) []byte {
	n := 4 + len(value)
	out := append([]byte{byte(n), byte(n >> 8), byte(kind), byte(kind >> 8)}, value...)
	return append(out, make([]byte, -n&3)...)
}

func TestProgramAttrFindsTheProgramInAnyMode(t *testing.T) {
	attached := nlattr(unix.IFLA_XDP_ATTACHED, 1)
	for _, kind := range []uint16{unix.IFLA_XDP_PROG_ID, unix.IFLA_XDP_DRV_PROG_ID, unix.IFLA_XDP_SKB_PROG_ID} {
		if got := programAttr(join(attached, nlattr(kind, 0x39, 0x30, 0, 0))); got != 12345 {
			t.Errorf("attribute %d: got program %d", kind, got)
		}
	}
	if got := programAttr(attached); got != 0 {
		t.Errorf("no program: got %d", got)
	}
}

func FuzzProgramAttr(f *testing.F) {
	f.Add(join(nlattr(unix.IFLA_XDP_ATTACHED, 1), nlattr(unix.IFLA_XDP_PROG_ID, 1, 0, 0, 0)))
	f.Add([]byte{3, 0, 4, 0})
	f.Add([]byte{5, 0, 4, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) { programAttr(b) })
}
