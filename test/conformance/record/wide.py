"""Random scenarios for record.py, a family each: `record.sh ORACLE OUT wide`, with WIDE=first-last seeds.

A seed says all: services, real servers, packets, edits, settings, listings. A story reacts to what the kernel sent:
the real server that was chosen answers. No IP options that hold times, no expiry column (see README.md), no order of services but the sorted one.
"""
import ipaddress
import os
import random
import struct

from pkt import VIP, VIP6, frags4, frags6, icmp, ip, is6, sctp, tcp, udp

SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"]
FLAGS = {"sh": ["sh-port", "sh-fallback", "sh-port,sh-fallback", "flag-1"],
         "mh": ["mh-port", "mh-fallback", "mh-fallback,mh-port", "flag-2"]}
TUNNELS = ["-i", "-i --tun-type gre", "-i --tun-type gre --tun-csum", "-i --tun-type gue --tun-port 6080 --tun-nocsum",
           "-i --tun-type gue --tun-port 6081 --tun-csum", "-i --tun-type gue --tun-port 6082 --tun-remcsum"]
LNC = "ipvsadm -Lnc | sed -E 's/ [0-9][0-9]:[0-9][0-9] / MM:SS /' | sort"
SETTINGS = {"expire_nodest_conn": (0, 1), "expire_quiescent_template": (0, 1), "sloppy_tcp": (0, 1), "sloppy_sctp": (0, 1),
            "conn_reuse_mode": (0, 1, 2, 3), "nat_icmp_send": (0, 1), "pmtu_disc": (0, 1), "schedule_icmp": (0, 1),
            "cache_bypass": (0, 1), "secure_tcp": (0, 3)}
LETTER = {6: "t", 17: "u", 132: "-sctp-service"}


class Service:
    def __init__(self, proto, vip, port, mark=0):
        self.proto, self.vip, self.port, self.mark = proto, vip, port, mark
        self.reals = {}

    def name(self):
        if self.mark:
            return f"-f {self.mark}" + (" -6" if is6(self.vip) else "")
        v = f"[{self.vip}]" if is6(self.vip) else self.vip
        return f"-{LETTER[self.proto]} {v}:{self.port}"


class Story:
    def __init__(self, r, seed, v6=None):
        self.r, self.x = r, random.Random(seed)
        self.v6 = self.x.random() < 0.4 if v6 is None else v6
        self.services, self.conns, self.n = [], [], 0

    # names
    def vip(self):
        return VIP6 if self.v6 else VIP

    def client(self):
        n = self.x.randint(1, 30)
        if self.v6:
            return self.x.choice(["2001:db8:77::%x", "2001:db8:78:%x::9", "2001:db8:79::%x:1"]) % n
        return self.x.choice(["192.0.2.%d", "203.0.113.%d", "198.51.%d.7"]) % n

    def real(self, i, v6=None):
        return f"fd00::2{i}" if (self.v6 if v6 is None else v6) else f"10.0.0.2{i}"

    def port(self):
        return self.x.choice([self.x.randint(1024, 65535), self.x.randint(1, 1023), 40000 + self.n % 7, 20 if self.x.random() < 0.2 else 999])

    # set-up
    def add_service(self, proto=None, sched=None, more=None, port=None, mark=0):
        x = self.x
        proto = proto or x.choice([6, 6, 6, 17, 17, 132])
        port = port if port is not None else x.choice([80, 443, 53, 8080, 5060, 25])
        s = Service(proto, self.vip(), port, mark)
        sched = sched or x.choice(SCHEDULERS)
        more = self.flags(sched, proto, mark) if more is None else more
        self.r.sh(f"ipvsadm -A {s.name()} -s {sched} {more}")
        self.services.append(s)
        return s

    def flags(self, sched, proto, mark=0, persistent=0.3):
        x, out = self.x, ""
        if sched in FLAGS and x.random() < 0.6:
            out += f"-b {x.choice(FLAGS[sched])} "
        if x.random() < persistent:
            out += f"-p {x.choice([50, 360, 3600])} "
            if x.random() < 0.5:
                out += "-M " + (str(x.choice([64, 48, 128, 100])) if self.v6 else x.choice(
                    ["255.255.255.0", "255.255.0.0", "255.255.255.240", "255.255.255.255", "128.0.0.0"]))
        if (proto == 17 or mark) and x.random() < 0.2:
            out += "-o "
        return out

    def add_real(self, s, i=None, how=None, w=None):
        x = self.x
        i = i or x.randint(1, 7)
        how = how or x.choice(["-g", "-m", "-m", x.choice(TUNNELS)])
        v6 = self.v6 if how[1] != "i" or x.random() < 0.85 else not self.v6
        port = s.port if how != "-m" or x.random() < 0.6 else x.choice([8080, 8000 + i, 53])
        a = self.real(i, v6)
        name = f"[{a}]:{port}" if v6 else f"{a}:{port}"
        w = w if w is not None else x.choice([0, 1, 1, 1, 2, 3, 5, 10, 100])
        more = ""
        if x.random() < 0.15:
            u = x.randint(2, 6)
            more = f" -x {u}" + (f" -y {x.randint(1, u)}" if x.random() < 0.6 else "")
        self.r.sh(f"ipvsadm -a {s.name()} -r {name} {how} -w {w}{more}")
        s.reals[name] = how

    def build(self, count=None):
        x = self.x
        for _ in range(count or x.randint(1, 3)):
            s = self.add_service()
            how = x.choice(["-g", "-m", "-m", x.choice(TUNNELS), None])
            for i in x.sample(range(1, 8), x.randint(1, 5)):
                self.add_real(s, i, how)

    # traffic
    def l4(self, c, flags="S", data=b"", back=False, **k):
        a, b, sp, dp = c["src"], c["dst"], c["sport"], c["dport"]
        if back:
            a, b, sp, dp = c["real"], c["src"], c["rport"], c["sport"]
        if c["proto"] == 6:
            l4 = tcp(a, b, sp, dp, flags, seq=c["seq"], ack=0 if flags == "S" else 5001, data=data)
            c["seq"] += len(data) + ("S" in flags) + ("F" in flags)
        elif c["proto"] == 17:
            l4 = udp(a, b, sp, dp, data or b"q")
        else:
            kind, value = c["chunk"]
            l4 = sctp(sp, dp, kind, value=value)
        return ip(a, b, c["proto"], l4, **k)

    def learn(self, c, out):
        for o in out:
            f = bytes.fromhex(o["hex"])
            if o["if"] == "s0" and f[4] == 2 and f[12:14] in (b"\x08\x00", b"\x86\xdd"):
                b = f[14:]
                c["mac"] = f[5] - 0x14
                v6 = b[0] >> 4 == 6
                proto, l4 = (b[6], b[40:]) if v6 else (b[9], b[(b[0] & 15) * 4:])
                dst = b[24:40] if v6 else b[16:20]
                if proto == c["proto"] and len(l4) > 4:
                    c["real"], c["rport"] = str(ipaddress.ip_address(dst)), struct.unpack(">H", l4[2:4])[0]

    def open(self, s=None, flags="S", **k):
        x = self.x
        s = s or x.choice(self.services)
        self.n += 1
        dst = f"198.18.1.{x.randint(1, 9)}" if s.mark and not self.v6 else s.vip
        proto = s.proto if not s.mark else x.choice([6, 17])
        c = {"proto": proto, "src": self.client(), "dst": dst, "sport": self.port(),
             "dport": s.port or x.choice([80, 8080, 53, 25]), "seq": 1000, "chunk": (1, struct.pack(">IIHHI", 7, 65535, 1, 1, 1))}
        self.learn(c, self.r.c(self.l4(c, flags, **k)))
        self.conns.append(c)
        return c

    def segment(self, c=None):
        x = self.x
        c = c or x.choice(self.conns)
        flags = x.choice(["A", "A", "PA", "FA", "F", "R", "RA", "S", "SA", "", "AU"])
        c["chunk"] = x.choice([(0, b"\0" * 12), (10, b"cookie"), (7, b"\0" * 4), (8, b""), (14, b""), (6, b""), (3, b"\0" * 12),
                               (1, struct.pack(">IIHHI", 7, 65535, 1, 1, 1))])
        data = b"d" * x.choice([0, 0, 1, 5, 100, 536, 1000])
        self.learn(c, self.r.c(self.l4(c, flags, data)))

    def answer(self, c=None):
        x = self.x
        known = [k for k in self.conns if "real" in k]
        if not known:
            return
        c = c or x.choice(known)
        if x.random() < 0.1:
            c = dict(c, rport=x.choice([c["rport"], 9999]), sport=x.choice([c["sport"], 9998]))
        c["chunk"] = x.choice([(2, struct.pack(">IIHHI", 7, 65535, 1, 1, 1)), (11, b""), (3, b"\0" * 12), (7, b"\0" * 4), (8, b""), (14, b""), (6, b"")])
        flags = x.choice(["SA", "SA", "A", "A", "PA", "FA", "R", "RA", "S"])
        self.r.s(self.l4(c, flags, b"r" * x.choice([0, 1, 7, 800]), back=True), c.get("mac", 1))

    def odd(self):
        """A packet that is not as usual."""
        x = self.x
        c = dict(x.choice(self.conns)) if self.conns else self.open()
        kind = x.randint(0, 13)
        v4 = not self.v6
        if kind == 0:
            self.r.c(self.l4(c, "A", ttl=1))
        elif kind == 1:
            self.r.c(self.l4(c, "A", b"x" * x.choice([1400, 1420, 1440, 1452]), **({"df": x.random() < 0.5, "id": 99} if v4 else {})))
        elif kind == 2:
            f = bytearray(self.l4(c, "A", b"abc"))
            f[-1] ^= 0x55
            self.r.c(bytes(f))
        elif kind == 3:
            c["dport"] = 7777
            self.r.c(self.l4(c, x.choice(["S", "A", "R", "FA"])))
        elif kind == 4:
            self.r.c(self.l4(c, "A", tos=x.choice([1, 2, 3, 0x10, 0xb8, 0xbb])))
        elif kind == 5:
            self.error(c)
        elif kind == 6:
            self.error(c, inside=True)
        elif kind == 7:
            self.fragments(c)
        elif kind == 8:
            rest = struct.pack(">HH", x.randint(1, 9), 1)
            self.r.c(ip(c["src"], self.vip(), 58 if self.v6 else 1, icmp(
                128 if self.v6 else 8, 0, rest, b"ping", *((c["src"], self.vip()) if self.v6 else ()))))
        elif kind == 9:
            c["sport"] = self.port()
            self.r.c(self.l4(c, x.choice(["A", "R", "FA", "SA", ""])))
        elif kind == 10:
            self.r.c(self.l4(c, "A")[:-x.randint(1, 30)])
        elif kind == 11:
            self.r.c(self.l4(c, "A") + b"\0" * x.randint(1, 20))
        elif kind == 12 and "real" in c:
            self.r.s(self.l4(c, "A", b"y", back=True, ttl=x.choice([1, 2])), c.get("mac", 1))
        elif kind == 13 and "real" in c:
            self.r.s(self.l4(c, "A", b"y" * x.choice([1400, 1460]), back=True), c.get("mac", 1))

    def error(self, c, inside=False):
        """An ICMP error about c's packets."""
        x = self.x
        types = [(1, 4, 0), (2, 0, 1280), (3, 0, 0), (1, 0, 0)] if self.v6 else [(3, 3, 0), (3, 4, 1400), (11, 0, 0), (3, 1, 0), (4, 0, 0), (12, 0, 0)]
        kind, code, rest = x.choice(types)
        rest = struct.pack(">I", rest)
        if inside:
            if "real" not in c or is6(c["real"]) != self.v6:
                return
            a, b, sp, dp, src, dst = c["src"], c["real"], c["sport"], c["rport"], x.choice([c["real"], self.real(7)]), c["src"]
        else:
            a, b, sp, dp, src, dst = c["dst"], c["src"], c["dport"], c["sport"], self.client(), c["dst"]
        l4 = {6: lambda: tcp(a, b, sp, dp, "A"), 17: lambda: udp(a, b, sp, dp, b"q" * 20), 132: lambda: sctp(sp, dp, 0, value=b"\0" * 12)}[c["proto"]]()
        q = ip(a, b, c["proto"], l4)
        if x.random() < 0.3:
            q = q[:(48 if self.v6 else 28)]
        p = ip(src, dst, 58 if self.v6 else 1, icmp(kind, code, rest, q, *((src, dst) if self.v6 else ())))
        if inside:
            self.r.s(p, c.get("mac", 1))
        else:
            self.r.c(p)

    def fragments(self, c):
        x = self.x
        a, b = c["src"], c["dst"]
        size = x.randint(100, 3000)
        body = bytes(x.randrange(256) for _ in range(size))
        l4 = udp(a, b, c["sport"], c["dport"], body) if c["proto"] == 17 else tcp(a, b, c["sport"], c["dport"], "A", data=body)
        proto = 17 if c["proto"] == 17 else 6
        cuts, at = [], 0
        while True:
            at += 8 * x.randint(120, 180)  # smaller ones: how they leave depends on the sender's buffers
            if at >= len(l4):
                break
            cuts.append(at)
        make = frags6 if self.v6 else frags4
        parts = make(a, b, proto, l4, cuts, x.randint(1, 60000))
        if x.random() < 0.5:
            x.shuffle(parts)
        for p in parts:
            self.r.c(p)

    # edits
    def edit(self):
        x = self.x
        s = x.choice(self.services)
        kind = x.randint(0, 9)
        if kind <= 2 and s.reals:
            name = x.choice(list(s.reals))
            # with another method the kernel asks for the VIP's neighbour: a route it has remembered
            self.r.sh(f"ipvsadm -e {s.name()} -r {name} {s.reals[name]} -w {x.choice([0, 0, 1, 2, 5, 7])}" + x.choice(["", "", " -x 3", " -x 0", " -x 4 -y 2"]))
        elif kind == 3 and s.reals:
            name = x.choice(list(s.reals))
            self.r.sh(f"ipvsadm -d {s.name()} -r {name}")
            s.reals.pop(name)
        elif kind in (4, 5):
            self.add_real(s)
        elif kind in (6, 7):
            sched = x.choice(SCHEDULERS)
            self.r.sh(f"ipvsadm -E {s.name()} -s {sched} {self.flags(sched, s.proto, s.mark)}")
        elif kind == 8 and x.random() < 0.4:
            self.r.sh(f"sleep 2.1; ipvsadm -D {s.name()}; ipvsadm -A {s.name()} -s rr")
            s.reals = {}
            self.add_real(s)
        else:
            self.bad()

    def bad(self):
        """A command that is refused, most likely."""
        x, s = self.x, self.x.choice(self.services)
        self.r.sh(x.choice([
            f"ipvsadm -A {s.name()} -s rr", f"ipvsadm -d {s.name()} -r {self.real(9) if not self.v6 else '[fd00::29]'}:80",
            f"ipvsadm -E {s.name()} -s nosuch", "ipvsadm -D -t 192.0.2.77:80", "ipvsadm -a -t 192.0.2.77:80 -r 10.0.0.21:80",
            f"ipvsadm -a {s.name()} -r 10.0.0.21:80 -w -1", "ipvsadm -A -t 198.18.0.100:0 -s rr", "ipvsadm -A -f 0", "ipvsadm -Ln -u 198.18.0.100:999",
            "ipvsadm -A -t 198.18.0.100:91 -o", "ipvsadm -A -t 198.18.0.100:91 -p 0", "ipvsadm -A -t 198.18.0.100:99999", "ipvsadm -L --nosuch",
            "ipvsadm -Z -t 192.0.2.77:80", "ipvsadm -e -t 192.0.2.77:80 -r 10.0.0.21:80", "ipvsadm --set 1 2", "ipvsadm --set -1 2 3",
            f"ipvsadm -a {s.name()} -r 10.0.0.21:80 -x 3 -y 4", "ipvsadm -A -u [2001:db8:c::100]:0 -s rr", "ipvsadm -A -t 198.18.0.100:92 -s rr -M 24",
            f"ipvsadm -E {s.name()} -s rr -b nosuch", "ipvsadm -a -t 198.18.0.100:80 -r 10.0.0.21:80 -i --tun-type gue"]))

    def setting(self):
        name = self.x.choice(list(SETTINGS))
        self.r.sh(f"sysctl -qw net.ipv4.vs.{name}={self.x.choice(SETTINGS[name])}")

    def show(self):
        x = self.x
        s = x.choice(self.services)
        self.r.sh(x.choice(["ipvsadm -Ln", "ipvsadm -Ln", LNC, "ipvsadm -Ln --persistent-conn", "ipvsadm -Ln --thresholds", "ipvsadm -Sn",
                            "ipvsadm -Ln --timeout", f"ipvsadm -Ln {s.name()}", f"ipvsadm -Ln {s.name()} --thresholds",
                            "ipvsadm -Ln | grep -c Route", "ipvsadm -l -n | awk 'NR>3 {print $2,$4,$5,$6}'", "ipvsadm -Ln --tun-info",
                            "cat /proc/net/ip_vs | tail -n +4 | sort", "ipvsadm -Lnc | awk 'NR>2 {print $3}' | sort | uniq -c", "ipvsadm --list --numeric --sort",
                            "sleep 2.1; ipvsadm -S -n > /mnt/save; ipvsadm -C; ipvsadm -R < /mnt/save; ipvsadm -Ln" if x.random() < 0.2 else "ipvsadm -Ln"]))

    def stats(self):
        self.r.sh("sleep 2.3; ipvsadm -Ln --stats --exact" + self.x.choice(["", "; ipvsadm -Ln --stats", "; cat /proc/net/ip_vs_stats | head -3"]))

    def mix(self, steps, **weights):
        """steps random steps: how often each kind comes is its weight."""
        kinds = {"open": 6, "segment": 6, "answer": 4, "odd": 2, "edit": 1.5, "setting": 0.3, "show": 1} | weights
        for _ in range(steps):
            kind = self.x.choices(list(kinds), list(kinds.values()))[0]
            if kind == "segment" and not self.conns:
                kind = "open"
            getattr(self, kind)()
        self.end()

    def end(self):
        self.r.sh("ipvsadm -Ln")
        self.r.sh(LNC)
        self.stats()


def mixed(s):
    """anything"""
    s.build()
    s.mix(s.x.randint(50, 90))


def scheduler(s):
    """one scheduler under churn"""
    x = s.x
    sv = s.add_service(proto=x.choice([6, 6, 17]), port=80)
    how = x.choice(["-g", "-g", "-m", "-i"])
    for i in x.sample(range(1, 8), x.randint(2, 6)):
        s.add_real(sv, i, how)
    s.mix(x.randint(60, 110), open=12, segment=7, answer=3 if how == "-m" else 0, odd=0, setting=0, edit=x.choice([0, 1, 2]), show=0.5)


def marked(s):
    """services by firewall mark"""
    x = s.x
    s.v6 = False
    sv = s.add_service(proto=6, port=0, mark=5)
    for i in x.sample(range(1, 8), x.randint(2, 5)):
        s.add_real(sv, i, x.choice(["-g", "-m", "-i"]))
    if x.random() < 0.5:
        s.services.append(Service(x.choice([6, 17]), VIP, 80))
        s.r.sh(f"ipvsadm -A {s.services[-1].name()} -s rr")
        s.add_real(s.services[-1])
    s.mix(x.randint(50, 80), open=10)


def persistent(s):
    """persistence, also of port 0"""
    x = s.x
    for proto in (6, 17):
        sv = s.add_service(proto=proto, port=x.choice([0, 80]), more=f"-p {x.choice([100, 360])} " + (
            "" if x.random() < 0.4 else "-M " + (str(x.choice([64, 112])) if s.v6 else x.choice(["255.255.255.0", "255.255.255.252"]))))
        how = x.choice(["-g", "-m", "-i"])
        for i in x.sample(range(1, 8), x.randint(2, 4)):
            s.add_real(sv, i, how, x.choice([0, 1, 1, 3]))
    s.mix(x.randint(50, 80), open=10, edit=2.5, show=2)


def nat(s):
    """NAT both ways"""
    x = s.x
    for _ in range(2):
        sv = s.add_service(proto=x.choice([6, 17, 132]), sched=x.choice(["rr", "wlc", "sed"]))
        for i in x.sample(range(1, 4), 2):
            s.add_real(sv, i, "-m", 1)
    s.mix(x.randint(60, 100), open=4, answer=8, odd=5, edit=0.7)


def defects(s):
    """odd packets"""
    s.build(2)
    for _ in range(3):
        s.open()
    s.mix(s.x.randint(50, 80), odd=20)


def thresholds(s):
    """upper and lower thresholds"""
    x = s.x
    sv = s.add_service(proto=6, sched=x.choice(SCHEDULERS), more="")
    for i in x.sample(range(1, 8), 3):
        a = f"[{s.real(i)}]:{sv.port}" if s.v6 else f"{s.real(i)}:{sv.port}"
        u = x.randint(1, 5)
        s.r.sh(f"ipvsadm -a {sv.name()} -r {a} -g -w {x.randint(1, 4)} -x {u} -y {x.randint(0, u)}")
        sv.reals[a] = "-g"
    s.mix(x.randint(60, 90), open=10, answer=0, odd=0.2)


def timed(s):
    """sessions that expire"""
    x = s.x
    s.r.sh("ipvsadm --set 3 2 2")
    s.build(2)
    for _ in range(x.randint(1, 3)):
        for _ in range(x.randint(4, 10)):
            x.choice([s.open, s.open, s.segment if s.conns else s.open, s.answer])()
        s.r.sh(x.choice(["sleep 5", "sleep 4.7; ipvsadm -Ln", "sleep 5; " + LNC]))
        s.edit()
    s.end()


def sloppy(s):
    """settings change in mid-traffic"""
    s.build()
    for _ in range(3):
        s.setting()
    s.mix(s.x.randint(50, 80), setting=5, edit=3, odd=3)


FAMILIES = [mixed, scheduler, scheduler, marked, persistent, nat, defects, thresholds, timed, sloppy, mixed]


def scenarios():
    first, last = map(int, (os.environ.get("WIDE") or "1-60").split("-"))
    out = {}
    for seed in range(first, last + 1):
        family = FAMILIES[seed % len(FAMILIES)]

        def make(r, family=family, seed=seed):
            family(Story(r, seed))
        make.__doc__ = f"{family.__doc__} (wide.py, seed {seed})"
        out[f"w{seed:04d}_{family.__name__}"] = make
    return out
