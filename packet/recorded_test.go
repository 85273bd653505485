package packet

import "testing"

// Frames of conformance/malformed.json, recorded on Linux 6.1.176 before a NAT
// service: the kernel forwarded those that are ErrNone here and dropped the
// others without a word.
func TestRecordedMalformedFramesAreReadAsTheKernelDid(t *testing.T) {
	const macs = "020000000101 020000000001 0800 "
	const ip = "45000028bbe440004006f673c0000201c6120064"
	const tcp = "bbe40050000003e8000000005002ffff674e0000"
	for _, c := range []struct {
		name, hex string
		want      Error
	}{
		{"frame cut to 34 bytes", macs + ip, ErrIPTotalLength},
		{"frame cut to 38 bytes", macs + ip + tcp[:8], ErrIPTotalLength},
		{"frame cut to 44 bytes", macs + ip + tcp[:20], ErrIPTotalLength},
		{"frame cut to 33 bytes", macs + ip[:38], ErrIPShort},
		{"total length 20", macs + "45000014bbe440004006f687c0000201c6120064", ErrL4Short},
		{"total length 28", macs + "4500001cbbe440004006f67fc0000201c6120064" + tcp[:16], ErrL4Short},
		{"total length 39", macs + "45000027bbe440004006f674c0000201c6120064" + tcp[:38], ErrL4Short},
		{"data offset 4", macs + ip + "bbe40050000003e8000000004002ffff674e0000", ErrNone},
		{"bad IP checksum", macs + "45000028bbe4400040060973c0000201c6120064" + tcp, ErrIPChecksum},
		{"padding after the packet", macs + ip + tcp + "000000000000", ErrNone},
	} {
		var p Parsed
		frame := hexBytes(t, c.hex)
		want(t, c.name, Parse(frame, &p), c.want)
		compareWithOracle(t, frame)
	}
}
