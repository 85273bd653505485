// Package realserver tries "ulvs realserver" where it belongs: on the real servers of a lab that have an address
// and a gateway and nothing else, behind a director that forwards.
//
// It owns nothing; package realserver's own tests go through every part and every fault.
package realserver
