"""Scenarios for record.py: ICMP errors that start sessions (schedule_icmp)."""
from pkt import VIP, VIP6, ip4, ip6, tcp, udp, icmp

C1, C2, R1, C6 = "192.0.2.1", "192.0.2.2", "10.0.0.21", "2001:db8:77::1"


def error(r, proto, client, sport, port=80, flags="A", ttl=64):
    seg = tcp(VIP, client, port, sport, flags) if proto == 6 else udp(VIP, client, port, sport, b"x")
    r.c(ip4(client, VIP, 1, icmp(3, 4, b"\0\0\5\0", ip4(VIP, client, proto, seg)), ttl=ttl))


def methods(how, port):
    def make(r):
        """Errors about unknown sessions start them."""
        r.sh("sysctl -qw net.ipv4.vs.schedule_icmp=1")
        for o, proto in (("-t", 6), ("-u", 17)):
            r.sh(f"ipvsadm -A {o} 198.18.0.100:80 -s rr; ipvsadm -a {o} 198.18.0.100:80 -r 10.0.0.21:{port} {how}")
            error(r, proto, C1, 1000)
            r.sh("ipvsadm -Lcn")
            error(r, proto, C1, 1000)
            error(r, proto, C1, 1001, ttl=1)
            error(r, proto, C1, 1002, flags="R")
            r.sh("ipvsadm -Ln")
        r.c(ip4(C1, VIP, 6, tcp(C1, VIP, 1000, 80, "A")))
        r.c(ip4(C1, VIP, 17, udp(C1, VIP, 1000, 80, b"x")))
        r.c(ip4(C1, VIP, 6, tcp(C1, VIP, 1001, 80, "S")))
        r.sh("ipvsadm -Lcn | sed -E 's/ [0-9][0-9]:[0-9][0-9] / MM:SS /' | sort; sleep 2.3; ipvsadm -Ln --stats --exact")
        r.sh("sleep 5; ipvsadm -Lcn | sed -E 's/ [0-9][0-9]:[0-9][0-9] / MM:SS /' | sort; ipvsadm -Ln")
    return make


def si_persistent(r):
    """A template is made, too."""
    r.sh("sysctl -qw net.ipv4.vs.schedule_icmp=1")
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr -p 100; ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -g")
    error(r, 6, C1, 1000)
    r.sh("ipvsadm -Lcn | sort; ipvsadm -Ln --persistent-conn")
    r.c(ip4(C1, VIP, 6, tcp(C1, VIP, 1001, 80, "S")))
    r.sh("sleep 4; ipvsadm -Lcn | sed -E 's/ [0-9][0-9]:[0-9][0-9] / MM:SS /' | sort; ipvsadm -Ln --persistent-conn")


def si_nobody(r):
    """No server, and drop_packet."""
    r.sh("sysctl -qw net.ipv4.vs.schedule_icmp=1")
    r.sh("ipvsadm -A -t 198.18.0.100:80 -s rr; ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -g -w 0")
    error(r, 6, C1, 1000)
    r.sh("ipvsadm -e -t 198.18.0.100:80 -r 10.0.0.21:80 -g")
    r.sh("sysctl -qw net.ipv4.vs.am_droprate=2; sysctl -qw net.ipv4.vs.drop_packet=3")
    for i in range(5):
        error(r, 6, C1, 2000 + i)
    r.sh("sysctl -qw net.ipv4.vs.drop_packet=0 net.ipv4.vs.am_droprate=10")
    r.sh("ipvsadm -Lcn | sed -E 's/ [0-9][0-9]:[0-9][0-9] / MM:SS /' | sort; ipvsadm -Ln")
    error(r, 6, C1, 3000, port=81)


def si_ops(r):
    """One-packet scheduling and marks."""
    r.sh("sysctl -qw net.ipv4.vs.schedule_icmp=1")
    r.sh("ipvsadm -A -u 198.18.0.100:53 -s rr -o; ipvsadm -a -u 198.18.0.100:53 -r 10.0.0.21:53 -m")
    error(r, 17, C1, 1000, port=53)
    error(r, 17, C1, 1000, port=53)
    r.sh("ipvsadm -Lcn; ipvsadm -Ln; sleep 2.3; ipvsadm -Ln --stats --exact")


def si_v6(r):
    """The same over IPv6."""
    r.sh("sysctl -qw net.ipv4.vs.schedule_icmp=1")
    r.sh("ipvsadm -A -t [2001:db8:c::100]:80 -s rr; ipvsadm -a -t [2001:db8:c::100]:80 -r [fd00::21]:80 -g")
    inner = ip6(VIP6, C6, 6, tcp(VIP6, C6, 80, 1000, "A"))
    r.c(ip6(C6, VIP6, 58, icmp(1, 4, body=inner, src=C6, dst=VIP6)))
    r.sh("ipvsadm -Lcn; ipvsadm -Ln")


def scenarios():
    return {"si_persistent": si_persistent, "si_nobody": si_nobody, "si_ops": si_ops, "si_v6": si_v6,
            "si_dr": methods("-g", 80), "si_nat": methods("-m", 8080), "si_tun": methods("-i", 80)}
