package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/gopacket/pcapgo"

	"ulvs/control"
)

// CaptureData returns a Network.Data that asks a running director for the frames of ARP and ICMPv6 that it takes from
// the kernel.
func CaptureData(c *control.Client) func(ctx context.Context, seconds int, fn func(frame []byte)) error {
	return func(ctx context.Context, seconds int, fn func(frame []byte)) error {
		in, out := io.Pipe()
		go func() {
			_, err := c.Capture(ctx, control.CaptureQuery{Filter: "arp or icmp6", Seconds: seconds}, out)
			out.CloseWithError(errors.Join(err, io.EOF))
		}()
		defer in.Close()
		return readFrames(in, fn)
	}
}

// readFrames calls fn for each frame of a pcapng file.
func readFrames(in io.Reader, fn func(frame []byte)) error {
	r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	for err == nil {
		var frame []byte
		if frame, _, err = r.ReadPacketData(); err == nil {
			fn(frame)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("see what the data plane receives: %w", err)
}
