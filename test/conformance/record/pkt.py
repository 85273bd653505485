"""Packets for recordings, built byte by byte: what is wrong in them is wrong on purpose."""
import ipaddress
import struct

CLIENT_MAC, DIR_C_MAC, DIR_S_MAC = "020000000001", "020000000101", "020000000102"
VIP, VIP6 = "198.18.0.100", "2001:db8:c::100"
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}


def addr(text):
    return ipaddress.ip_address(text).packed


def is6(text):
    return ":" in text


def csum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(src, dst, proto, size):
    return addr(src) + addr(dst) + struct.pack(">II", size, proto)


def sealed(src, dst, proto, seg, at):
    """seg with its checksum, at offset at, filled in."""
    value = csum(pseudo(src, dst, proto, len(seg)) + seg)
    if proto == 17 and value == 0:
        value = 0xFFFF
    return seg[:at] + struct.pack(">H", value) + seg[at + 2:]


def tcp(src, dst, sport, dport, flags, seq=1000, ack=5001, data=b"", opts=b"", win=65535, bad=0):
    bits = sum(FLAGS[f] for f in flags)
    seg = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, (20 + len(opts)) << 2, bits, win, 0, 0) + opts + data
    seg = sealed(src, dst, 6, seg, 16)
    if bad:
        seg = seg[:16] + struct.pack(">H", struct.unpack(">H", seg[16:18])[0] ^ bad) + seg[18:]
    return seg


def udp(src, dst, sport, dport, data=b"", zero=False, bad=0):
    seg = struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data
    if zero:
        return seg
    seg = sealed(src, dst, 17, seg, 6)
    if bad:
        seg = seg[:6] + struct.pack(">H", struct.unpack(">H", seg[6:8])[0] ^ bad) + seg[8:]
    return seg


def icmp(kind, code, rest=b"\0\0\0\0", body=b"", src=None, dst=None):
    """ICMP, or ICMPv6 where src and dst are given (its checksum covers them)."""
    msg = struct.pack(">BBH", kind, code, 0) + rest + body
    if src:
        return sealed(src, dst, 58, msg, 2)
    return msg[:2] + struct.pack(">H", csum(msg)) + msg[4:]


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp(sport, dport, kind, tag=7, flags=0, value=b"", bad=0, more=b""):
    size = 4 + len(value)
    chunk = struct.pack(">BBH", kind, flags, size) + value + b"\0" * (-size % 4)
    msg = struct.pack(">HHII", sport, dport, tag, 0) + chunk + more
    return msg[:8] + struct.pack("<I", crc32c(msg) ^ bad) + msg[12:]


def ip4(src, dst, proto, payload, ttl=64, tos=0, id=0, df=True, mf=False, off=0, opts=b"", total=None):
    """off in bytes."""
    head = struct.pack(">BBHHHBBH", 0x45 + len(opts) // 4, tos, total or 20 + len(opts) + len(payload), id,
                       df << 14 | mf << 13 | off // 8, ttl, proto, 0) + addr(src) + addr(dst) + opts
    return head[:10] + struct.pack(">H", csum(head)) + head[12:] + payload


def ip6(src, dst, proto, payload, ttl=64, tos=0, flow=0):
    return struct.pack(">IHBB", 6 << 28 | tos << 20 | flow, len(payload), proto, ttl) + addr(src) + addr(dst) + payload


def ip(src, dst, proto, payload, **k):
    if is6(src):
        for name in ("df", "mf", "off", "opts", "id"):
            k.pop(name, None)
        return ip6(src, dst, proto, payload, **k)
    return ip4(src, dst, proto, payload, **k)


def frags4(src, dst, proto, payload, cuts, id, **k):
    """cuts are the offsets at which the payload is cut, multiples of 8."""
    at = [0] + list(cuts) + [len(payload)]
    return [ip4(src, dst, proto, payload[a:b], id=id, df=False, off=a, mf=b < len(payload), **k)
            for a, b in zip(at, at[1:])]


def frags6(src, dst, proto, payload, cuts, id, **k):
    at = [0] + list(cuts) + [len(payload)]
    return [ip6(src, dst, 44, struct.pack(">BBHI", proto, 0, a | (b < len(payload)), id) + payload[a:b], **k)
            for a, b in zip(at, at[1:])]


def eth(dst, src, packet, kind=None):
    kind = kind or (0x86DD if packet[0] >> 4 == 6 else 0x0800)
    return bytes.fromhex(dst + src) + struct.pack(">H", kind) + packet


def describe(frame):
    """A few words: the replay decodes for itself."""
    b = frame[14:]
    if len(b) >= 20 and b[0] >> 4 == 4:
        return f"{ipaddress.ip_address(b[12:16])}>{ipaddress.ip_address(b[16:20])} proto {b[9]} len {len(b)}"
    if len(b) >= 40 and b[0] >> 4 == 6:
        return f"{ipaddress.ip_address(b[8:24])}>{ipaddress.ip_address(b[24:40])} proto {b[6]} len {len(b)}"
    return f"len {len(b)}"
