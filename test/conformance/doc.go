// Package conformance replays a folder of recordings of the kernel's IPVS against our own pipeline and says
// where the two differ: frames that come out, and what commands print.
//
// It owns the format of the recordings, the little world around the director while one is played (two
// interfaces, routes, a clock that only moves when told) and the comparing. The director in the middle is
// the real one: a director.Node, dataplane workers on memqueue, one connection table, the ipvsadm front
// end. Commands are shell lines and run in a real shell, in which ipvsadm, sysctl, ip and sleep are stand-ins
// that ask the replay. It does not know any scenario by name, opens no socket but the one of the stand-ins,
// and changes nothing on the machine.
package conformance
