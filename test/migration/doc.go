// Package migration runs the commands of docs/migration.md, top to bottom and as they are printed there, in a lab
// with a live pair of keepalived directors and a client that never stops asking.
//
// It owns the reading of the guide's blocks, the hosts lvs1 to lvs3 (namespaces with an /etc, a /run and a name
// of their own) and the few commands that such hosts lack (folder commands). Kernels of test machines have no ip_vs:
// the forwarder that keepalived's virtual_server blocks would set up is an ulvs without [[vrrp]], edited by
// ipvsadm; who holds the VIP is decided by Debian's keepalived and the ulvs under test, as in the field. It needs root
// and keepalived.
package migration
