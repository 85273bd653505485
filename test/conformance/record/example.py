"""Scenarios for record.py: each function makes one; its doc string is the description."""
from pkt import VIP, ip4, tcp

CLIENT, REAL = "192.0.2.1", "10.0.0.21"


def nat_handshake(r):
    """A TCP handshake through NAT, seen from both sides."""
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -m")
    r.c(ip4(CLIENT, VIP, 6, tcp(CLIENT, VIP, 1234, 80, "S")))
    r.s(ip4(REAL, CLIENT, 6, tcp(REAL, CLIENT, 80, 1234, "SA")))
    r.c(ip4(CLIENT, VIP, 6, tcp(CLIENT, VIP, 1234, 80, "A")))
    r.show()


def scenarios():
    return {"nat_handshake": nat_handshake}
