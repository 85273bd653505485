// SPDX-License-Identifier: Apache-2.0
//
// decap unpacks what a TUN director sends, where the kernel has no ipip or
// ip6_tunnel: it strips the outer header and lets the stack see the inner packet
// as if it had arrived that way. IPv4 and IPv6, each in each.
//
//	| Ethernet | outer IPv4 or IPv6 | inner IPv4 or IPv6 ... |
//	                                  ^ the Ethernet header moves here
//
// Everything else passes untouched, options and fragments of the outer packet too:
// IPVS sends neither.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_FRAGMENT 0x3fff /* more-fragments and the offset */

/* How many packets were unpacked, by outer and inner family: 44 46 64 66. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4);
} unpacked SEC(".maps");

/* inner_type maps the outer header's protocol to the inner EtherType, 0: not ours. */
static __always_inline __u16 inner_type(__u8 proto)
{
	switch (proto) {
	case IPPROTO_IPIP:
		return bpf_htons(ETH_P_IP);
	case IPPROTO_IPV6:
		return bpf_htons(ETH_P_IPV6);
	}
	return 0;
}

/* outer reads the outer header; it returns its length, 0: leave the packet alone. */
static __always_inline int outer(struct ethhdr *eth, void *end, __u16 *type)
{
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || ip->ihl != 5 || ip->frag_off & bpf_htons(IP_FRAGMENT))
			return 0;
		*type = inner_type(ip->protocol);
		return sizeof(*ip);
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return 0;
		*type = inner_type(ip->nexthdr);
		return sizeof(*ip);
	}
	return 0;
}

static __always_inline void count(int outer_len, __u16 type)
{
	__u32 key = (outer_len == sizeof(struct ipv6hdr) ? 2 : 0) + (type == bpf_htons(ETH_P_IPV6) ? 1 : 0);
	__u64 *n = bpf_map_lookup_elem(&unpacked, &key);

	if (n)
		*n += 1;
}

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data, old;
	__u16 type = 0;
	__u8 *inner;
	int len;

	if ((void *)(eth + 1) > end)
		return XDP_PASS;
	len = outer(eth, end, &type);
	if (!len || !type)
		return XDP_PASS;
	inner = (__u8 *)(eth + 1) + len;
	if ((void *)(inner + 1) > end || *inner >> 4 != (type == bpf_htons(ETH_P_IP) ? 4 : 6))
		return XDP_PASS;

	old = *eth;
	if (bpf_xdp_adjust_head(ctx, len))
		return XDP_PASS;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP; /* cannot be: inner was there; the verifier does not know */
	*eth = old;
	eth->h_proto = type;
	count(len, type);
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
