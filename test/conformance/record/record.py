"""Records scenarios inside the oracle: see README.md. Runs as a part of the guest's init."""
import ctypes
import fcntl
import importlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
import traceback

import pkt

SETUP = ("ipvsadm -C; ipvsadm -Z 2>/dev/null; ipvsadm --set 900 120 300; sysctl -qw net.ipv4.vs.expire_nodest_conn=0 "
         "net.ipv4.vs.expire_quiescent_template=0 net.ipv4.vs.sloppy_tcp=0 net.ipv4.vs.conn_reuse_mode=1 "
         "net.ipv4.vs.nat_icmp_send=0 net.ipv4.vs.pmtu_disc=1; ip link set c0 mtu 1500; ip link set s0 mtu 1500; "
         "ip route flush cache")
LNC = "ipvsadm -Lnc | sed -E 's/ [0-9][0-9]:[0-9][0-9] / MM:SS /' | sort"
QUIET = 0.012  # seconds of silence that end a step
NOISE6 = (133, 134, 135, 136, 143, 130, 131, 132)


def no_offload(name):
    """Checksums are to be in the frames: ethtool -K NAME tx off tso off gso off gro off, without ethtool."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for command in (0x17, 0x1F, 0x24, 0x2C):  # ETHTOOL_STXCSUM, STSO, SGSO, SGRO
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            try:
                fcntl.ioctl(s, 0x8946, struct.pack("16sP", name.encode(), ctypes.addressof(value)))
            except OSError:
                pass


def noise(frame):
    """ARP and what an IPv6 host says on its own."""
    if frame[12:14] == b"\x08\x06":
        return True
    return frame[12:14] == b"\x86\xdd" and (
        frame[20] == 0 and frame[54] == 58 or frame[20] == 58 and len(frame) > 54 and frame[54] in NOISE6)


class Recording:
    """One scenario while it is made."""

    def __init__(self, name, desc, tags):
        self.name, self.desc, self.tags, self.steps = name, desc, tags, []
        subprocess.run(["sh", os.environ["ORACLE"] + "/director.sh"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run("ip link set pc0 mtu 9200; ip link set ps0 mtu 9200", shell=True, check=True)
        self.inside(lambda: (no_offload("c0"), no_offload("s0")))
        no_offload("pc0")
        no_offload("ps0")
        self.socks = {}
        for inside, peer in (("c0", "pc0"), ("s0", "ps0")):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind((peer, 0))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self.socks[inside] = s
        time.sleep(0.1)
        self.drain()
        self.sh(SETUP, text=False)

    def inside(self, do):
        """Does something in the director's network namespace."""
        child = os.fork()
        if child == 0:
            with open("/run/netns/dir") as ns:
                ctypes.CDLL(None).setns(ns.fileno(), 0x40000000)
            do()
            os._exit(0)
        os.waitpid(child, 0)

    def drain(self):
        out = []
        by = {s.fileno(): n for n, s in self.socks.items()}
        while True:
            ready, _, _ = select.select(list(by), [], [], QUIET)
            if not ready:
                return out
            for fd in ready:
                name = by[fd]
                frame, where = self.socks[name].recvfrom(65536)
                if where[2] != 4 and not noise(frame):
                    out.append({"if": name, "hex": frame.hex(), "desc": pkt.describe(frame)})

    def note(self, text):
        self.steps.append({"note": text})

    def sh(self, line, text=True):
        """A command; with text, what it printed is compared."""
        libc = ctypes.CDLL(None)
        with open("/run/netns/dir") as ns:
            p = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL, preexec_fn=lambda: libc.setns(ns.fileno(), 0x40000000))
        step = {"cmd": line}
        if text:
            step["text"], step["rc"] = p.stdout.decode("utf8", "replace"), p.returncode
        self.steps.append(step)
        self.drain()
        return p.stdout.decode("utf8", "replace")

    def frame(self, iface, frame):
        try:
            self.socks[iface].send(frame)
        except OSError:  # larger than the interface's MTU: it never arrives
            self.drain()
            return []
        out = self.drain()
        step = {"in": {"if": iface, "hex": frame.hex(), "desc": pkt.describe(frame)}}
        if out:
            step["out"] = out
        self.steps.append(step)
        return out

    def c(self, packet):
        """A packet from the client side."""
        return self.frame("c0", pkt.eth(pkt.DIR_C_MAC, pkt.CLIENT_MAC, packet))

    def s(self, packet, real=1):
        """A packet from a real server."""
        return self.frame("s0", pkt.eth(pkt.DIR_S_MAC, f"0200000002{0x14 + real:02x}", packet))

    def show(self, stats=True, ln=True):
        if ln:
            self.sh("ipvsadm -Ln")
        self.sh(LNC)
        if stats:
            self.sh("sleep 2.3; ipvsadm -Ln --stats --exact")

    def save(self, folder):
        for s in self.socks.values():
            s.close()
        doc = {"name": self.name, "desc": self.desc, "tags": self.tags, "steps": self.steps}
        with open(f"{folder}/{self.name}.json", "w") as f:
            json.dump(doc, f)


def main():
    folder, module = sys.argv[1], sys.argv[2]
    only = sys.argv[3:]
    for name, make in sorted(importlib.import_module(module).scenarios().items()):
        if only and not any(name.startswith(o) for o in only):
            continue
        desc = (make.__doc__ or name).strip()
        r = Recording(name, desc, [module])
        try:
            make(r)
        except Exception:
            traceback.print_exc()
            continue
        r.save(folder)
        print("recorded", name, len(r.steps), flush=True)


main()
