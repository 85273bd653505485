// Package afxdp moves frames between the kernel and one worker through AF_XDP,
// and steers into AF_XDP exactly the traffic that is ulvs's.
//
// It owns two things. A [Set] is one worker's I/O: queue i of every interface,
// all sockets sharing one UMEM, so that a frame received on one port is sent on
// another without a copy; it has the methods of dataplane.Queue. A [Steering]
// is the XDP program on the interfaces and the maps that tell it what is ours;
// all else, and everything when ulvs is dead, stays with the kernel.
// [AsavieSet] is a second Queue, on github.com/asavie/xdp.
//
// It does not look into frames, does not decide what to serve (the director
// says so with [Rules]), does not watch links (netlink is the director's; a
// port whose interface vanished reports ENETDOWN once and goes quiet), and
// never tunes the interface.
//
// Sources: Linux Documentation/networking/af_xdp.rst, net/xdp/xsk.c,
// net/xdp/xsk_queue.h, include/uapi/linux/if_xdp.h.
package afxdp
