// Package lab builds a small site out of network namespaces: a client, a director,
// real servers and a gateway, joined as a real site would be.
//
//	ulvs-c1 client                            198.18.0.10 .. .19
//	   |
//	ulvs-sw0 client-side bridge               198.18.0.0/24  2001:db8:c::/64
//	   |                   |                  VIPs: .100 dr  .101 nat  .102 tun
//	   | c0                |
//	ulvs-d1 director    ulvs-rt gateway       the kernel forwards in ulvs-rt only
//	   | s0                |
//	   |                   |
//	ulvs-sw1 server-side bridge               10.18.1.0/24   2001:db8:5::/64
//	   |        |        |
//	ulvs-r1  ulvs-r2  ulvs-r3 real servers    10.18.1.11 .. , direct .111 ..
//
// Packets for a VIP reach the director alone. Replies of DR and TUN leave through
// the gateway, as the VIP; replies of NAT leave through the director, as the real
// server: a policy route by source address tells them apart, so all three methods
// exist at once. A real server's second, "direct" address is reached and answered
// through the gateway: plain kernel forwarding, to compare with.
//
// The package owns the namespaces it made (each is marked on its loopback), what
// runs in them, /run/ulvs-lab, and the sub-commands of "ulvs lab": up, down, status,
// config, serve, client. It touches nothing that it did not make, and it starts no
// director: that is ulvs run, inside ulvs-d1.
package lab
