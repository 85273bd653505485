package doctor

// Code is a kind of finding.
type Code struct {
	Code     string
	Severity Severity
	Title    string
	Remedy   string
}

// Codes of findings. A code keeps its meaning for ever.
const (
	codeKernel     = "UD101"
	codeQueues     = "UD102"
	codeBalancer   = "UD103"
	codeInterrupts = "UD104"
	codeNICDrops   = "UD105"
	codeRingDrops  = "UD106"
	codeChecksum   = "UD107"
	codeJump       = "UD108"
	codeFirewall   = "UD109"
	codeCopies     = "UD110"
	codeSegment    = "UD201"
	codeSilent     = "UD202"
	codeVIPMissing = "UD203"
	codeARP        = "UD204"
	codeGateway    = "UD205"
	codeDecap      = "UD206"
	codeMTU        = "UD207"
	codeDown       = "UD208"
	codeVRID       = "UD301"
	codeDuplicate  = "UD302"
	codeSkew       = "UD303"
	codeDrift      = "UD304"
	codeBehind     = "UD305"
	codePeer       = "UD306"
)

// Codes lists every kind of finding: 1xx this machine, 2xx real servers, 3xx other directors and the LAN.
var Codes = []Code{
	{codeKernel, Error, "kernel too old",
		"run Linux 5.10 or later: older ones have no XDP by bpf_link, and no UMEM shared between interfaces"},
	{codeQueues, Warning, "queues and cores do not match",
		"ulvs tune plan shows the numbers that fit; ulvs tune apply sets them, with ulvs stopped"},
	{codeBalancer, Warning, "irqbalance moves interrupts away from their workers",
		"ulvs tune apply stops it, or, with stop_irqbalance = false, has it leave our interrupts alone"},
	{codeInterrupts, Warning, "interrupts on other cores than their workers",
		"ulvs tune apply puts each on its worker's core"},
	{codeNICDrops, Warning, "the NIC drops frames",
		"ulvs tune plan: longer rings, interrupts on the workers' cores; if CRC errors grow, the cable or the other port"},
	{codeRingDrops, Warning, "rings of the data plane drop frames",
		"workers do not keep up: give them cores of their own (cpus), more of them, or raise frames"},
	{codeChecksum, Error, "senders on this host leave checksums to hardware that is not there",
		"on the sender: ethtool -K INTERFACE tx off. Frames between guests, containers and namespaces of one host " +
			"pass no NIC that would fill the checksum in"},
	{codeJump, Warning, "the clock jumped since ulvs started",
		"let chrony or ntpd slew the clock instead of stepping it; ulvs itself goes by the monotonic clock"},
	{codeFirewall, Error, "the packet filter is in the way",
		"accept it, for example: nft insert rule inet filter input ip protocol 112 accept. Packets for VIPs never reach " +
			"the filter"},
	{codeCopies, Warning, "frames are copied although the driver has zero-copy",
		"see the log at start for the kernel's reason; one interface without zero-copy makes all of a worker copy"},
	{codeSegment, Error, "a DR real server is not on the director's segment",
		"DR needs it on the same LAN: move it there, or use method = \"tun\" or \"nat\" for it"},
	{codeSilent, Error, "a real server does not answer ARP",
		"it is off, its cable is, or it is in another VLAN than its address says"},
	{codeVIPMissing, Error, "the VIP is missing on a real server",
		"on the real server: ulvs realserver setup --method dr --vip VIP, or ip addr add VIP/32 dev lo"},
	{codeARP, Error, "a real server answers ARP for the VIP",
		"on the real server: sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, and the VIP on lo, " +
			"not on its NIC; ulvs realserver setup does it"},
	{codeGateway, Error, "a NAT real server answers by another way than the director",
		"on the real server make the director its default gateway: ip route replace default via DIRECTOR"},
	{codeDecap, Error, "a TUN real server does not unpack",
		"on the real server: ulvs realserver setup --method tun --vip VIP, or tunl0 up with the VIP and rp_filter off"},
	{codeMTU, Warning, "full packets do not fit into the tunnel",
		"raise the MTU between director and real server by the tunnel's header, or lower the real servers' advmss; until " +
			"then clients are told to send less (pmtu_disc), which some networks filter"},
	{codeDown, Error, "a real server does not serve",
		"start its server, and see ulvs health for what the checks say"},
	{codeVRID, Error, "the virtual router id is in use by others",
		"choose another virtual_router_id on all directors of this pair; the LAN's others: tcpdump -ni INTERFACE vrrp"},
	{codeDuplicate, Error, "somebody else answers for the VIP",
		"find the MAC address on the switch, and take the VIP from that host: two masters, or an address given twice"},
	{codeSkew, Warning, "clocks of directors differ",
		"run chrony or ntpd on both; sessions and takeover do not depend on it, logs and certificates do"},
	{codeDrift, Error, "directors are configured differently",
		"give both the same services, and the same [[vrrp]]: VIPs, version and advert_int; adverts that differ are not " +
			"taken"},
	{codeBehind, Warning, "a director does not have all sessions",
		"wait for it; if it stays, see ulvs sync for losses, and the network between the directors"},
	{codePeer, Error, "another director is missing",
		"start it, check peers and key_file in [sync], and that UDP and TCP of the port pass between them"},
}
