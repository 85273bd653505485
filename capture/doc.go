// Package capture is what a packet capture needs beside the packets: filters in tcpdump's language, and pcapng.
//
// It owns the language of pcap-filter(7) for Ethernet (Compile), its evaluation on a frame without allocation
// (Filter.Match), and a writer of pcapng with comments, directions and drop counts (Writer). It does not take frames
// from anywhere: dataplane has the tap, director the capture. What of the language is not there is an error
// with its place: names of hosts, networks and ports, link layers other than Ethernet, inbound and outbound, and
// protochain. A frame that is too short for what the filter looks at is not taken, as in libpcap.
package capture
