"""Twins of the committed recordings for record.py: the same packets and commands with another scheduler, another method
or other settings. `record.sh ORACLE OUT twins [PREFIX...]`."""
import ipaddress
import json
import os
import re
import struct
import zipfile

import pkt

SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"]
KINDS = ["churn", "edit", "held", "synonly", "udp", "fwmark_dst", "weights_large"]
METHODS = {"nat": "-m", "ipip": "-i", "gre": "-i --tun-type gre", "grecsum": "-i --tun-type gre --tun-csum",
           "gue": "-i --tun-type gue --tun-port 6080 --tun-nocsum", "guecsum": "-i --tun-type gue --tun-port 6080 --tun-csum",
           "dr": "-g"}
HERE = os.path.dirname(os.path.abspath(__file__))


def recordings():
    with zipfile.ZipFile(HERE + "/../testdata/recordings.zip") as z:
        return {n[:-5]: json.loads(z.read(n)) for n in z.namelist() if n not in ("index.json", "cli.json")}


def play(source, change):
    """A scenario that plays source's steps with its commands changed."""
    def make(r):
        for step in source["steps"][1:]:  # the first is the recorder's own set-up
            if "note" in step:
                r.note(step["note"])
            elif "cmd" in step:
                r.sh(change(step["cmd"]), text="text" in step)
            else:
                r.frame(step["in"]["if"], bytes.fromhex(step["in"]["hex"]))
    make.__doc__ = "a twin of " + source["name"] + ": " + source["desc"]
    return make


def six(text):
    """A command's addresses in IPv6."""
    text = re.sub(r"198\.18\.0\.100:", "[2001:db8:c::100]:", text)
    text = re.sub(r"10\.0\.0\.(2\d):", r"[fd00::\1]:", text)
    return re.sub(r"-M 255\.255\.255\.0", "-M 120", text)


def addr6(a):
    text = str(ipaddress.ip_address(a))
    if text == pkt.VIP:
        return pkt.VIP6
    if text.startswith("10.0.0."):
        return "fd00::" + text[7:]
    return "2001:db8:%x:%x::%x" % (a[0], a[1] << 8 | a[2], a[3])


def frame6(frame):
    """A frame's TCP or UDP packet in IPv6; a checksum that was right is right again."""
    ip = frame[14:]
    head, total = (ip[0] & 15) * 4, struct.unpack(">H", ip[2:4])[0]
    l4, proto, src, dst = ip[head:total], ip[9], addr6(ip[12:16]), addr6(ip[16:20])
    at = {6: 16, 17: 6}[proto]
    old = pkt.csum(ip[12:20] + struct.pack(">HH", proto, len(l4)) + l4)
    if old == 0:
        l4 = l4[:at] + b"\0\0" + l4[at + 2:]
        l4 = pkt.sealed(src, dst, proto, l4, at)
    return frame[:12] + b"\x86\xdd" + pkt.ip6(src, dst, proto, l4, ttl=ip[8], tos=ip[1])


def play6(source, change=lambda cmd: cmd):
    """The same over IPv6, without packets that are no TCP or UDP."""
    def make(r):
        for step in source["steps"][1:]:
            if "cmd" in step:
                r.sh(six(change(step["cmd"])), text="text" in step)
            elif "in" in step:
                f = bytes.fromhex(step["in"]["hex"])
                if f[23] in (6, 17) and f[20] & 0x3f == 0 and f[21] == 0:
                    r.frame(step["in"]["if"], frame6(f))
    make.__doc__ = "IPv6: " + source["name"] + ": " + source["desc"]
    return make


def scheduler(old, new):
    return lambda cmd: re.sub(rf"-s {old}\b", f"-s {new}", cmd)


def method(how):
    return lambda cmd: re.sub(r" (-g|-m|-i)( --tun-\S+( gre| gue| \d+)?)*(?= |$)", " " + how, cmd)


def scenarios():
    have, out = recordings(), {}
    for kind in KINDS:
        old = next(s for s in SCHEDULERS if f"sched_{s}_{kind}" in have)
        for new in SCHEDULERS:
            if f"sched_{new}_{kind}" not in have:
                out[f"tw_{new}_{kind}"] = play(have[f"sched_{old}_{kind}"], scheduler(old, new))
    for name, words in {
            "tcp_states_dr": "nat ipip", "conn_reuse_1": "nat gue", "persistence_tcp": "nat gre", "persistence_mask24": "nat ipip",
            "ops_udp": "nat guecsum ipip", "sloppy_tcp": "nat ipip", "timeouts": "nat gue",
            "fragments_dr": "nat ipip gre grecsum gue guecsum", "icmp_dr": "ipip gre grecsum gue guecsum", "no_server": "nat ipip",
            "ip_options": "ipip gue", "malformed": "dr ipip"}.items():
        for word in words.split():
            out[f"tw_{name}_{word}"] = play(have[name], method(METHODS[word]))
    for mode in (0, 2, 3):
        out[f"tw_reuse_{mode}"] = play(have["conn_reuse_1"], lambda c, m=mode: c.replace("reuse_mode=1", f"reuse_mode={m}"))
    for new in SCHEDULERS:
        out[f"tw_{new}_churn6"] = play6(have["sched_rr_churn"], scheduler("rr", new))
    for name in ("fwd_dr", "fwd_nat", "fwd_tun_ipip", "tcp_states_dr", "conn_reuse_1", "persistence_tcp", "persistence_mask24", "ops_udp",
                 "sloppy_tcp", "timeouts", "no_server", "nat_portmap"):
        out[f"tw_{name}6"] = play6(have[name])
        if name != "fwd_nat" and "dr" in name + have[name]["desc"].lower():
            out[f"tw_{name}6_nat"] = play6(have[name], method("-m"))
    for new in ("wrr", "wlc", "sh", "mh", "lblc", "dh"):
        out[f"tw_pers_{new}"] = play(have["persistence_tcp"], scheduler("rr", new))
        out[f"tw_ops_{new}"] = play(have["ops_udp"], scheduler("rr", new))
    return out
