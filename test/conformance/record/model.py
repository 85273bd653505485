"""Scenarios for record.py: what the differential test asked."""
from pkt import VIP, ip4, tcp, udp, icmp

C1, C2, R1 = "192.0.2.1", "192.0.2.2", "10.0.0.21"
LCN = "ipvsadm -Lcn | sed -E 's/ [0-9][0-9]:[0-9][0-9] / MM:SS /' | sort"


def t(flags, sport=1234, src=C1, dport=80):
    return ip4(src, VIP, 6, tcp(src, VIP, sport, dport, flags))


def quiesced(mode):
    def make(r):
        """expire_nodest_conn and a quiesced server: which SYNs start a new session."""
        r.sh(f"sysctl -qw net.ipv4.vs.expire_nodest_conn=1 net.ipv4.vs.conn_reuse_mode={mode}")
        r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -g")
        for i, flags in enumerate(["S", "SA", "SR", "A", "SF"]):
            r.c(t("S", 2000 + i))
        r.sh("ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.22:80 -g; ipvsadm -e -t 198.18.0.100:80 -r 10.0.0.21:80 -g -w 0")
        for i, flags in enumerate(["S", "SA", "SR", "A", "SF"]):
            r.c(t(flags, 2000 + i))
        r.show()
    return make


def reused(mode):
    def make(r):
        """Which segments reuse a session that is over."""
        r.sh(f"sysctl -qw net.ipv4.vs.conn_reuse_mode={mode}")
        r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -g")
        for i, flags in enumerate(["S", "SA", "SR", "A", "SF"]):
            r.c(t("S", 2000 + i))
            r.c(t("A", 2000 + i))
            r.c(t("R", 2000 + i))
        r.sh("ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.22:80 -g; ipvsadm -e -t 198.18.0.100:80 -r 10.0.0.21:80 -g -w 0")
        for i, flags in enumerate(["S", "SA", "SR", "A", "SF"]):
            r.c(t(flags, 2000 + i))
        r.show()
    return make


def removed(method):
    def make(r):
        """A removed server: errors about its session, its replies, and what it counted when it comes back."""
        port = "8080" if method == "-m" else "80"
        r.sh(f"ipvsadm -A -t 198.18.0.100:80 -s rr && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:{port} {method}")
        r.c(t("S"))
        r.show()
        r.sh(f"ipvsadm -d -t 198.18.0.100:80 -r 10.0.0.21:{port}")
        inner = ip4(VIP, C1, 6, tcp(VIP, C1, 80, 1234, "SA"))
        r.c(ip4(C1, VIP, 1, icmp(3, 1, body=inner)))
        r.c(ip4(C1, VIP, 1, icmp(3, 1, body=inner), ttl=1))
        if method == "-m":
            r.s(ip4(R1, C1, 6, tcp(R1, C1, 8080, 1234, "SA")))
            inner = ip4(C1, R1, 6, tcp(C1, R1, 1234, 8080, "S"))
            r.s(ip4(R1, C1, 1, icmp(3, 1, body=inner)))
        r.c(t("A"))
        r.sh("ipvsadm -Z -t 198.18.0.100:80")
        r.sh(f"ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:{port} {method}")
        r.show()
        r.c(ip4(C1, VIP, 1, icmp(3, 1, body=ip4(VIP, C1, 6, tcp(VIP, C1, 80, 1234, "SA"))), ttl=1))
        r.c(t("A"))
        r.show()
        r.sh("ipvsadm -D -t 198.18.0.100:80; ipvsadm -A -t 198.18.0.100:80 -s rr")
        r.sh(f"ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:{port} {method}")
        r.c(t("A"))
        r.show()
    return make


def template_alone(r):
    """A template without sessions whose server is removed waits for its time."""
    r.sh("ipvsadm -A -u 198.18.0.100:53 -s rr -p 20 -o && ipvsadm -a -u 198.18.0.100:53 -r 10.0.0.21:53 -g")
    u = ip4(C1, VIP, 17, udp(C1, VIP, 1234, 53, b"x"))
    r.c(u)
    r.sh(LCN + "; ipvsadm -Ln --persistent-conn")
    r.sh("ipvsadm -a -u 198.18.0.100:53 -r 10.0.0.22:53 -g; ipvsadm -d -u 198.18.0.100:53 -r 10.0.0.21:53")
    r.c(u)
    r.sh(LCN + "; ipvsadm -Ln --persistent-conn")
    r.sh("ipvsadm -a -u 198.18.0.100:53 -r 10.0.0.21:53 -g")
    r.sh(LCN + "; ipvsadm -Ln --persistent-conn")


def nodest_later(r):
    """expire_nodest_conn is switched on after the server was removed."""
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -g")
    r.sh("ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.22:80 -g")
    for i in range(4):
        r.c(t("S", 2000 + i))
    r.sh("ipvsadm -d -t 198.18.0.100:80 -r 10.0.0.21:80; sysctl -qw net.ipv4.vs.expire_nodest_conn=1")
    r.sh("sleep 1; " + LCN)
    r.sh("ipvsadm -e -t 198.18.0.100:80 -r 10.0.0.22:80 -g; sleep 1; " + LCN)
    for i in range(4):
        r.c(t("S", 2000 + i))
    r.show()
    r.sh("ipvsadm -d -t 198.18.0.100:80 -r 10.0.0.22:80; sleep 1; " + LCN)


def wrr_same(r):
    """An edit that changes nothing sends wrr back to the head of its list."""
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s wrr")
    for i in (1, 2, 3):
        r.sh(f"ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.2{i}:80 -g -w 2")
    r.c(t("S", 1))
    r.c(t("S", 2))
    r.sh("ipvsadm -e -t 198.18.0.100:80 -r 10.0.0.21:80 -g -w 2")
    for i in range(3, 7):
        r.c(t("S", i))


def mh_quiesced(r):
    """mh knows the weight that a quiesced server had under another scheduler."""
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s sh")
    for i in (1, 2, 3):
        r.sh(f"ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.2{i}:80 -g -w 2")
    r.sh("ipvsadm -e -t 198.18.0.100:80 -r 10.0.0.22:80 -g -w 0; ipvsadm -E -t 198.18.0.100:80 -s mh")
    for i in range(1, 13):
        r.c(t("S", 1234, f"192.0.2.{i}"))


def no_service(r):
    """Without a service IPVS relays no errors."""
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:8080 -m")
    r.c(t("S"))
    r.sh("ipvsadm -C")
    inner = ip4(C1, R1, 6, tcp(C1, R1, 1234, 8080, "S"))
    r.s(ip4(R1, C1, 1, icmp(3, 1, body=inner)))
    r.c(ip4(C1, VIP, 1, icmp(3, 1, body=ip4(VIP, C1, 6, tcp(VIP, C1, 80, 1234, "SA")))))
    r.sh(LCN)


def stray_big(r):
    """nat_icmp_send, and a packet that is too big for the client's side."""
    r.sh("sysctl -qw net.ipv4.vs.nat_icmp_send=1; ip link set c0 mtu 1300")
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:8080 -m")
    r.s(ip4(R1, C1, 6, tcp(R1, C1, 8080, 1234, "A", data=b"x" * 1380)))
    r.s(ip4(R1, C1, 6, tcp(R1, C1, 8080, 1234, "A", data=b"x" * 1380), df=False))
    r.s(ip4(R1, C1, 6, tcp(R1, C1, 8080, 1234, "A", data=b"x")))


def sloppy_assured(r):
    """sloppy_tcp: an ACK that starts a session assures its template."""
    r.sh("sysctl -qw net.ipv4.vs.sloppy_tcp=1")
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr -p 50 && ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -g")
    r.c(t("A"))
    r.c(t("F", 1235, C2))
    r.sh(LCN)


def scenarios():
    out = {n: f for n, f in globals().items() if callable(f) and f.__module__ == __name__ and n not in
           ("t", "quiesced", "reused", "removed", "scenarios")}
    for mode in (0, 1, 2):
        out[f"quiesced_{mode}"] = quiesced(mode)
        out[f"reused_{mode}"] = reused(mode)
    out["removed_nat"], out["removed_dr"], out["removed_tun"] = removed("-m"), removed("-g"), removed("-i")
    return out
