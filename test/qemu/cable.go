package qemu

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// cable is a tap as packet socket: what is written goes to the guest, what the guest sends can be read.
type cable struct {
	tb testing.TB
	fd int
}

// cable opens the tap of a guest's NIC.
func (v *vm) cable(i int) *cable {
	v.tb.Helper()
	c := &cable{tb: v.tb}
	err := v.ns.Do(func() (err error) {
		link, err := net.InterfaceByName(fmt.Sprintf("t%d", i))
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // in network order
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})
	})
	if err != nil {
		v.tb.Fatalf("open the cable of NIC %d: %v", i, err)
	}
	v.tb.Cleanup(func() { _ = unix.Close(c.fd) })
	_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	_ = unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	return c
}

func (c *cable) send(frame []byte) {
	c.tb.Helper()
	if _, err := unix.Write(c.fd, frame); err != nil {
		c.tb.Fatalf("send a frame to the guest: %v", err)
	}
}

// receive returns a frame of the guest's, nil after limit.
func (c *cable) receive(limit time.Duration) []byte {
	c.tb.Helper()
	p := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
	for end := time.Now().Add(limit); ; {
		left := time.Until(end)
		if n, err := unix.Poll(p, int(max(left.Milliseconds(), 0))); n == 0 && err == nil {
			return nil
		}
		b := make([]byte, 2048)
		n, err := unix.Read(c.fd, b)
		if err == nil {
			return b[:n]
		}
		if err != unix.EINTR && err != unix.EAGAIN {
			c.tb.Fatalf("read a frame of the guest's: %v", err)
		}
	}
}

// sourcePortByte is where the low byte of the source port is in a frame with an IPv4 header without options.
const sourcePortByte = 14 + 20 + 1

// steer has a tap choose the queue by the low byte of the source port. Do it after the guest's last change of its
// queues: QEMU forgets it there.
func (v *vm) steer(i int) {
	v.tb.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadAbs(sourcePortByte, asm.Byte),
			asm.Return(),
		},
	})
	if err != nil {
		v.tb.Fatalf("load the steering of tap %d: %v", i, err)
	}
	defer program.Close()
	err = v.ns.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq(fmt.Sprintf("t%d", i))
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			return fmt.Errorf("join: %w", err)
		}
		return unix.IoctlSetPointerInt(fd, unix.TUNSETSTEERINGEBPF, program.FD())
	})
	if err != nil {
		v.tb.Fatalf("steer tap %d: %v", i, err)
	}
}
