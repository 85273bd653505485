// Package load is traffic that costs little to make: a TCP client, a TCP server and a UDP sender of one thread
// each on epoll, so that what is between them is what is measured.
//
// The protocol of its own: a request is a line of bytes; the first byte says whether the server answers with as
// many bytes and closes ('C') or keeps the connection ('K'). The server closes first, so that no client port is
// left waiting. Against other servers it speaks HTTP.
//
// It owns sockets and latencies. It does not know what is measured (bench/versus, ulvs bench tcp).
package load
