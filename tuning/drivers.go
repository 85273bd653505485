package tuning

import (
	"fmt"
	"strconv"
	"strings"
)

// Driver is what is known of a NIC's driver and AF_XDP.
type Driver struct {
	Name string `json:"driver"`
	// ZeroCopy is the first kernel, "5.3", whose driver has it; empty: none known. Whether it works is
	// asked of the kernel at each start; this tells what to expect.
	ZeroCopy string `json:"zero_copy_since,omitempty"`
	Native   bool   `json:"native_xdp"`
	Note     string `json:"note,omitempty"` // what to know
	// Source is the file in Linux that has it, the commit that brought it, and what was seen; Checked is what of that was
	// looked at: commit, file, seen, or no.
	Source  string `json:"source"`
	Checked string `json:"checked"`
}

// What a Driver's release was checked against. Releases are those that first had the commit; commits and files do not
// name them.
const (
	checkedCommit = "commit" // the commit that brought it was read
	checkedFile   = "file"   // the file is in Linux; in which release it came was not found out
	checkedSeen   = "seen"   // run, here or in a guest
	checkedNot    = "no"     // from memory
)

// Drivers lists what is known, sorted by name. A driver has zero-copy if its ndo_bpf takes XDP_SETUP_XSK_POOL.
var Drivers = []Driver{
	{"bnxt_en", "", true, "copy mode", "drivers/net/ethernet/broadcom/bnxt/bnxt_xdp.c", checkedNot},
	{"e1000e", "", false, "generic XDP only: slow", "QEMU 7.2, Linux 6.1", checkedSeen},
	{"ena", "", true, "copy mode; the vendor's driver has zero-copy, with resets reported",
		"drivers/net/ethernet/amazon/ena; github.com/amzn/amzn-drivers issue 221", checkedNot},
	{"gve", "6.4", true, "the driver still copies once", "drivers/net/ethernet/google/gve/gve_main.c, Linux fd8e40321a12",
		checkedCommit},
	{"hns3", "", false, "generic XDP only", "drivers/net/ethernet/hisilicon/hns3: no ndo_bpf", checkedNot},
	{"hv_netvsc", "", true, "copy mode", "drivers/net/hyperv/netvsc_bpf.c", checkedNot},
	{"i40e", "4.20", true, "", "drivers/net/ethernet/intel/i40e/i40e_xsk.c, Linux 0a714186d3c0", checkedCommit},
	{"ice", "5.5", true, "the vendor's driver outside of the kernel has panicked with it",
		"drivers/net/ethernet/intel/ice/ice_xsk.c, Linux 2d4238f55697; github.com/intel/ethernet-linux-ice issue 59",
		checkedCommit},
	{"igb", "6.14", true, "", "drivers/net/ethernet/intel/igb/igb_xsk.c", checkedFile},
	{"igc", "5.14", true, "", "drivers/net/ethernet/intel/igc/igc_main.c, Linux fc9df2a0b520", checkedCommit},
	{"ixgbe", "4.20", true, "queues and CPUs together must stay below its limit, or transmission hangs",
		"drivers/net/ethernet/intel/ixgbe/ixgbe_xsk.c, Linux d0bcacd0a130; github.com/facebookincubator/katran issue 20",
		checkedCommit},
	{"mlx4_en", "", true, "copy mode", "drivers/net/ethernet/mellanox/mlx4", checkedNot},
	{"mlx5_core", "5.3", true, "", "drivers/net/ethernet/mellanox/mlx5/core/en/xsk/pool.c, Linux db05815b36cb",
		checkedCommit},
	{"nfp", "5.18", true, "", "drivers/net/ethernet/netronome/nfp/nfd3/xsk.c", checkedFile},
	{"sfc", "", true, "copy mode", "drivers/net/ethernet/sfc/efx_common.c", checkedNot},
	{"stmmac", "5.13", true, "", "drivers/net/ethernet/stmicro/stmmac/stmmac_xdp.c, Linux bba2556efad6", checkedCommit},
	{"tun", "", true, "copy mode", "drivers/net/tun.c; QEMU's taps", checkedNot},
	{"veth", "", true, "copy mode; senders on the same host leave checksums to be filled in",
		"drivers/net/veth.c; this project's lab, Linux 6.18", checkedSeen},
	{"virtio_net", "6.13", true, "spare queues appear when a program attaches, and RSS's table is lost then",
		"drivers/net/virtio_net.c: virtnet_xsk_pool_enable; without zero-copy in QEMU 7.2, Linux 6.1", checkedNot},
	{"vmxnet3", "", true, "native XDP from Linux 6.6 on; QEMU delivers to queue 0 only",
		"drivers/net/vmxnet3/vmxnet3_xdp.c; generic in QEMU 7.2, Linux 6.1", checkedNot},
}

// DriverOf returns what is known of a driver, nil if nothing is.
func DriverOf(name string) *Driver {
	for i := range Drivers {
		if Drivers[i].Name == name {
			return &Drivers[i]
		}
	}
	return nil
}

// HasZeroCopy reports whether a kernel's driver should have zero-copy.
func (d *Driver) HasZeroCopy(kernel string) bool {
	return d.ZeroCopy != "" && AtLeast(kernel, d.ZeroCopy)
}

// Expect says in words how frames will get to the data plane.
func (d *Driver) Expect(kernel string) string {
	switch {
	case d == nil:
		return "not in the list of drivers: zero-copy is tried, copies are the fallback"
	case d.HasZeroCopy(kernel):
		return "zero-copy"
	case d.ZeroCopy != "":
		return fmt.Sprintf("copies; zero-copy from Linux %s on", d.ZeroCopy)
	case !d.Native:
		return "generic XDP, copies"
	}
	return "copies"
}

// AtLeast compares releases by their first two numbers: "6.1.0-21-amd64" and "5.10".
func AtLeast(kernel, want string) bool {
	a, b := release(kernel), release(want)
	return a[0] > b[0] || a[0] == b[0] && a[1] >= b[1]
}

// release returns the first two numbers of a kernel's release, 0 where there are none.
func release(kernel string) (n [2]int) {
	for i, part := range strings.SplitN(kernel, ".", 3) {
		if i == len(n) {
			break
		}
		end := strings.IndexFunc(part, func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(part)
		}
		n[i], _ = strconv.Atoi(part[:end])
	}
	return n
}
