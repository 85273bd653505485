// Steering: which frames of an interface go to ulvs, and which stay the kernel's.
//
// Everything that is not clearly ours passes to the kernel, and so does ours
// when no socket serves the queue (the last argument of bpf_redirect_map): a
// dead or half-started ulvs never takes the host off its network.
//
// The program needs no headers: the few kernel types and helper numbers it uses
// (linux/bpf.h) are stated here, so that a build is the same on every machine.

#pragma clang diagnostic error "-Wall"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define inline static inline __attribute__((always_inline))
#define noinline static __attribute__((noinline))
#define htons(x) __builtin_bswap16(x) /* little-endian targets only: see generate.go */
#define uint_(name, val) int(*name)[val]
#define type_(name, val) typeof(val) *name

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

enum { XDP_PASS = 2 };
enum { MAP_HASH = 1, MAP_PERCPU_ARRAY = 6, MAP_XSK = 17, NO_PREALLOC = 1 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const redirect_map)(void *map, u64 key, u64 flags) = (void *)51;

// Bits of an address. The Go side (rules.go) has the same list.
enum {
	F_VIP = 1,        // held in userspace: all of its traffic, ARP and NS
	F_LOCAL = 2,      // an address of this host: never the target of a NAT reply
	F_SERVICE = 4,    // some rule names it as a service
	F_SERVICE_ALL = 8, // a service for every protocol and port
	F_REPLY = 16,     // some rule names it as a NAT real server
	F_REPLY_ALL = 32, // a NAT real server for every protocol and port
	F_PROBE_SOURCE = 64, // an address of this host that health checks of DR and TUN come from
	F_PROBE_VIP = 128, // what they are for
};

// Ports that ulvs's own health checks come from, and nothing else of this host should. Written before the
// program is loaded; none as it is.
const volatile u16 probe_first = 0xffff, probe_last = 0;

// Kinds of rules.
enum { R_SERVICE, R_SERVICE_FRAG, R_REPLY, R_REPLY_FRAG };

// Counters; the redirecting ones are also decide's answers, C_PASSED being 0
// for "not ours". The Go side (stats.go) has the same list.
enum { C_PASSED, C_SERVICE, C_REPLY, C_FRAGMENT, C_ICMP, C_VIP, C_NEIGHBOUR, C_PROBE, C_SEEN, C_NO_SOCKET, C_COUNT };

struct addr {
	u32 w[4]; // IPv6, or IPv4 as ::ffff:a.b.c.d, wire order
};

struct rule {
	struct addr addr;
	u16 port; // wire order; 0 is every port
	u8 proto;
	u8 kind;
};

struct {
	uint_(type, MAP_HASH);
	type_(key, struct addr);
	type_(value, u32);
	uint_(max_entries, 65536);
	uint_(map_flags, NO_PREALLOC);
} addrs SEC(".maps");

struct {
	uint_(type, MAP_HASH);
	type_(key, struct rule);
	type_(value, u32);
	uint_(max_entries, 65536);
	uint_(map_flags, NO_PREALLOC);
} rules SEC(".maps");

struct {
	uint_(type, MAP_XSK);
	type_(key, u32);
	type_(value, u32);
	uint_(max_entries, 64);
} xsks SEC(".maps");

struct {
	uint_(type, MAP_PERCPU_ARRAY);
	type_(key, u32);
	type_(value, u64);
	uint_(max_entries, C_COUNT);
} counters SEC(".maps");

struct eth {
	u8 dst[6], src[6];
	u16 type;
};

struct arp {
	u16 htype, ptype;
	u8 hlen, plen;
	u16 op;
	u8 sha[6], spa[4], tha[6], tpa[4];
};

struct ip4 {
	u8 vihl, tos;
	u16 len, id, frag;
	u8 ttl, proto;
	u16 sum;
	u32 src, dst;
};

struct ip6 {
	u32 vtf;
	u16 len;
	u8 next, hops;
	struct addr src, dst;
};

enum { ARP = 0x0806, VLAN = 0x8100, IPV4 = 0x0800, IPV6 = 0x86dd };
enum { ICMP = 1, TCP = 6, UDP = 17, SCTP = 132, ICMPV6 = 58 };
enum { HOPOPTS = 0, ROUTING = 43, FRAGMENT = 44, DSTOPTS = 60 };
enum { MAX_EXT_HEADERS = 6 };

// What parsing finds; off is that of the header after the IP headers.
struct flow {
	struct addr src, dst;
	u32 off;
	u16 sport, dport; // 0 without ports
	u8 proto;
	u8 later; // a fragment without the L4 header
};

inline void count(u32 i)
{
	u64 *c = map_lookup(&counters, &i);
	if (c)
		(*c)++;
}

inline u32 flags_of(const struct addr *a)
{
	u32 *f = map_lookup(&addrs, a);
	return f ? *f : 0;
}

inline void mapped(struct addr *a, u32 v4)
{
	a->w[0] = a->w[1] = 0;
	a->w[2] = __builtin_bswap32(0xffff);
	a->w[3] = v4;
}

noinline int match(const struct addr *a, u32 port, u32 proto, u32 kind)
{
	struct rule r = {.addr = *a, .port = port, .proto = proto, .kind = kind};

	if (map_lookup(&rules, &r))
		return 1;
	if (!port)
		return 0;
	r.port = 0;
	return map_lookup(&rules, &r) != 0;
}

inline int has_ports(u32 proto)
{
	return proto == TCP || proto == UDP || proto == SCTP;
}

inline int parse_ports(void *data, void *end, struct flow *f)
{
	u16 *ports;

	f->sport = f->dport = 0;
	if (f->later || !has_ports(f->proto))
		return 1;
	ports = data + f->off;
	if ((void *)(ports + 2) > end)
		return 0;
	f->sport = ports[0];
	f->dport = ports[1];
	return 1;
}

inline int parse_v4(void *data, void *end, u32 off, struct flow *f)
{
	struct ip4 *ip = data + off;
	u32 ihl;

	if ((void *)(ip + 1) > end || ip->vihl >> 4 != 4)
		return 0;
	ihl = (ip->vihl & 15) * 4;
	if (ihl < sizeof(*ip))
		return 0;
	mapped(&f->src, ip->src);
	mapped(&f->dst, ip->dst);
	f->proto = ip->proto;
	f->later = (ip->frag & htons(0x1fff)) != 0;
	f->off = off + ihl;
	return parse_ports(data, end, f);
}

// walk_v6 moves f past the extension headers, a bounded number of them.
inline int walk_v6(void *data, void *end, struct flow *f)
{
	for (int i = 0; i < MAX_EXT_HEADERS; i++) {
		u8 *h = data + f->off;
		u8 next = f->proto;

		if (next != HOPOPTS && next != ROUTING && next != DSTOPTS && next != FRAGMENT)
			return 1;
		if ((void *)(h + 8) > end)
			return 0;
		f->proto = h[0];
		if (next != FRAGMENT) {
			f->off += (h[1] + 1) * 8;
			continue;
		}
		f->off += 8;
		if (*(u16 *)(h + 2) & htons(0xfff8)) {
			f->later = 1;
			return 1;
		}
	}
	return 0;
}

inline int parse_v6(void *data, void *end, u32 off, struct flow *f)
{
	struct ip6 *ip = data + off;

	if ((void *)(ip + 1) > end || (*(u8 *)ip) >> 4 != 6)
		return 0;
	f->src = ip->src;
	f->dst = ip->dst;
	f->proto = ip->next;
	f->later = 0;
	f->off = off + sizeof(*ip);
	return walk_v6(data, end, f) && parse_ports(data, end, f);
}

noinline int parse(void *data, void *end, u32 off, u32 v6, struct flow *f)
{
	if (v6)
		return parse_v6(data, end, off, f);
	return parse_v4(data, end, off, f);
}

// probe: do health checks go from a port of us to them? DR's and TUN's go from this host to a VIP, and the answers
// the other way. NAT's seem to come from elsewhere, so that they are answered like clients.
inline int probe(const struct flow *f, u32 us, u32 them, u32 port)
{
	port = htons(port);
	if (f->later || (f->proto != TCP && f->proto != UDP) || port < probe_first || port > probe_last)
		return 0;
	return us & F_PROBE_SOURCE && them & F_PROBE_VIP;
}

// ours_inner: is the packet that an ICMP error complains about one of ours?
// It went out with a service as its source, or was forwarded to a NAT real
// server. What this host itself sent to a real server's port (health checks) is
// the kernel's, but a tunnel to one leaves with an address of this host.
noinline int ours_inner(void *data, void *end, u32 off, u32 v6)
{
	struct flow f = {};
	u32 s, d;

	if (off > 16384 || !parse(data, end, off, v6, &f) || f.later)
		return 0;
	s = flags_of(&f.src);
	if (s & (F_VIP | F_SERVICE_ALL))
		return 1;
	if (s & F_SERVICE && match(&f.src, f.sport, f.proto, R_SERVICE))
		return 1;
	d = flags_of(&f.dst);
	if (probe(&f, s, d, f.sport))
		return 1;
	if (s & F_LOCAL && has_ports(f.proto))
		return 0;
	if (d & F_REPLY_ALL)
		return 1;
	return d & F_REPLY && match(&f.dst, f.dport, f.proto, R_REPLY);
}

inline int is_error(u32 type, u32 v6)
{
	if (v6)
		return type >= 1 && type <= 4; // RFC 4443
	return type == 3 || type == 4 || type == 11; // those IPVS looks into
}

noinline int decide_icmp(void *data, void *end, u32 off, u32 v6)
{
	u8 *h = data + off;

	if (off > 16384 || (void *)(h + 8) > end)
		return C_PASSED;
	if (is_error(h[0], v6))
		return ours_inner(data, end, off + 8, v6) ? C_ICMP : C_PASSED;
	if (v6 && (h[0] == 135 || h[0] == 136)) { // NS, NA: target after 8 bytes
		struct addr *t = (void *)(h + 8);
		struct addr target;
		if ((void *)(t + 1) > end)
			return C_PASSED;
		target = *t;
		return flags_of(&target) & F_VIP ? C_NEIGHBOUR : C_PASSED;
	}
	return C_PASSED;
}

// decide_reply: may f be a NAT real server's answer? Not when it is for this
// host (health checks) or for a group.
noinline int decide_reply(const struct flow *f, u32 sflags, u32 group)
{
	if (group)
		return C_PASSED;
	if (f->later)
		return sflags & F_REPLY_ALL || match(&f->src, 0, f->proto, R_REPLY_FRAG) ? C_FRAGMENT : C_PASSED;
	if (sflags & F_REPLY_ALL)
		return C_REPLY;
	return match(&f->src, f->sport, f->proto, R_REPLY) ? C_REPLY : C_PASSED;
}

inline int decide_ip(void *data, void *end, u32 off, u32 v6, u32 group)
{
	struct flow f = {};
	u32 d, s;

	if (!parse(data, end, off, v6, &f))
		return C_PASSED;
	d = flags_of(&f.dst);
	if (d & F_VIP)
		return C_VIP;
	if (!f.later && f.proto == (v6 ? ICMPV6 : ICMP)) {
		int kind = decide_icmp(data, end, f.off, v6);
		if (kind)
			return kind;
	}
	if (d & F_SERVICE_ALL)
		return f.later ? C_FRAGMENT : C_SERVICE;
	if (d & F_SERVICE) {
		if (f.later && match(&f.dst, 0, f.proto, R_SERVICE_FRAG))
			return C_FRAGMENT;
		if (!f.later && match(&f.dst, f.dport, f.proto, R_SERVICE))
			return C_SERVICE;
	}
	s = flags_of(&f.src);
	if (probe(&f, d, s, f.dport))
		return C_PROBE;
	if (d & F_LOCAL)
		return C_PASSED;
	if (s & (F_REPLY | F_REPLY_ALL))
		return decide_reply(&f, s, group);
	return C_PASSED;
}

// decide_arp: requests for a VIP we hold, and replies that name one.
inline int decide_arp(void *data, void *end, u32 off)
{
	struct arp *a = data + off;
	struct addr t, s;

	if ((void *)(a + 1) > end || a->htype != htons(1) || a->ptype != htons(IPV4))
		return C_PASSED;
	if (a->hlen != 6 || a->plen != 4)
		return C_PASSED;
	mapped(&t, *(u32 *)a->tpa);
	if (flags_of(&t) & F_VIP)
		return C_NEIGHBOUR;
	if (a->op != htons(2))
		return C_PASSED;
	mapped(&s, *(u16 *)a->spa | (u32)(*(u16 *)(a->spa + 2)) << 16);
	return flags_of(&s) & F_VIP ? C_NEIGHBOUR : C_PASSED;
}

inline int decide(void *data, void *end)
{
	struct eth *e = data;
	u32 off = sizeof(*e);
	u16 type;

	if ((void *)(e + 1) > end)
		return C_PASSED;
	type = e->type;
	if (type == htons(VLAN)) { // one tag; a second one is not ours
		if (data + 18 > end)
			return C_PASSED;
		type = *(u16 *)(data + 16);
		off = 18;
	}
	if (type == htons(IPV4))
		return decide_ip(data, end, off, 0, e->dst[0] & 1);
	if (type == htons(IPV6))
		return decide_ip(data, end, off, 1, e->dst[0] & 1);
	if (type == htons(ARP))
		return decide_arp(data, end, off);
	return C_PASSED;
}

SEC("xdp")
int ulvs_steer(struct xdp_md *ctx)
{
	int kind = decide((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	long verdict;

	count(C_SEEN);
	if (kind == C_PASSED) {
		count(C_PASSED);
		return XDP_PASS;
	}
	verdict = redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
	count(verdict == XDP_PASS ? C_NO_SOCKET : kind);
	return verdict;
}

char _license[] SEC("license") = "Apache-2.0";
