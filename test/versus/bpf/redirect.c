// SPDX-License-Identifier: Apache-2.0
//
// redirect is what forwarding by DR costs at least: it sends the packets of one VIP to one of several real
// servers, chosen by the client's address and port, by new MAC addresses and XDP_REDIRECT. It keeps no sessions,
// checks no checksum, and decrements no TTL. Everything else passes.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_REALS 8

/* sticky_port goes by the client's address alone, so that connections of one client stay together. */
struct settings {
	__u32 vip; /* network order */
	__u32 reals;
	__u32 link; /* ifindex towards the real servers */
	__u16 sticky_port; /* network order */
	__u8 source[6];
	__u8 macs[MAX_REALS][8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct settings);
	__uint(max_entries, 1);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} sent SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__u16 *ports = (void *)(ip + 1); /* no options here */
	__u32 zero = 0, hash;

	if ((void *)(ports + 2) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;
	struct settings *s = bpf_map_lookup_elem(&config, &zero);
	__u64 *n = bpf_map_lookup_elem(&sent, &zero);
	if (!s || !n || ip->daddr != s->vip || !s->reals ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return XDP_PASS;
	hash = ip->saddr;
	if (ports[1] != s->sticky_port)
		hash ^= ports[0] * 2654435761u;
	hash *= 2654435761u;
	__u32 real = (hash >> 16) % s->reals;
	if (real >= MAX_REALS)
		return XDP_PASS;
	__builtin_memcpy(eth->h_dest, s->macs[real], 6);
	__builtin_memcpy(eth->h_source, s->source, 6);
	(*n)++;
	return bpf_redirect(s->link, 0);
}

char _license[] SEC("license") = "Apache-2.0";
