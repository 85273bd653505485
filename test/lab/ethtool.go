package lab

import (
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The part of ethtool's netlink interface that sets features by name
// (include/uapi/linux/ethtool_netlink.h).
const (
	ethtoolFamily      = "ethtool"
	ethtoolVersion     = 1
	msgFeaturesSet     = 12
	attrFeaturesHeader = 1
	attrFeaturesWanted = 3
	attrHeaderDevName  = 2
	attrBitsetBits     = 3
	attrBitsBit        = 1
	attrBitName        = 2
)

// hostOffloads are off on every link of the lab. A veth hands packets over as they
// are, so an offload that a NIC would finish is never finished: with transmit
// checksums left "to the hardware" an AF_XDP reader sees wrong ones, and a
// segment to be cut later does not fit a UMEM chunk. A VLAN tag kept beside the
// frame would not be in it.
var hostOffloads = []string{
	"tx-checksum-ip-generic", "tx-checksum-sctp",
	"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation",
	"tx-udp-segmentation", "tx-generic-segmentation", "tx-scatter-gather",
	"tx-vlan-hw-insert", "rx-vlan-hw-parse",
}

// ethtoolID asks once for the number that genetlink gave to ethtool; it is the
// same in every namespace.
var ethtoolID = sync.OnceValues(func() (uint16, error) {
	family, err := netlink.GenlFamilyGet(ethtoolFamily)
	if err != nil {
		return 0, fmt.Errorf("find %s in genetlink: %w", ethtoolFamily, err)
	}
	return family.ID, nil
})

// setFeaturesOff clears the features on a link of the calling thread's namespace, as
// "ethtool -K link NAME off" does. A feature that the kernel does not know is
// an error; one that the device cannot change is not.
func setFeaturesOff(link string, names []string) error {
	id, err := ethtoolID()
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(int(id), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: msgFeaturesSet, Version: ethtoolVersion})
	header := nl.NewRtAttr(attrFeaturesHeader|unix.NLA_F_NESTED, nil)
	header.AddRtAttr(attrHeaderDevName, nl.ZeroTerminated(link))
	req.AddData(header)
	wanted := nl.NewRtAttr(attrFeaturesWanted|unix.NLA_F_NESTED, nil)
	bits := wanted.AddRtAttr(attrBitsetBits|unix.NLA_F_NESTED, nil)
	for _, name := range names {
		bit := bits.AddRtAttr(attrBitsBit|unix.NLA_F_NESTED, nil)
		bit.AddRtAttr(attrBitName, nl.ZeroTerminated(name)) // no value attribute: off
	}
	req.AddData(wanted)
	if _, err := req.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("switch offloads of %s off: %w", link, err)
	}
	return nil
}
