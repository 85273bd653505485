// Package appliance configures a machine that was started from the disk image (make image): from the kernel's command
// line, from a file on its boot partition, or by asking on the console.
//
// It owns the words for that, and the files that come of them: the host's name, its network (systemd-networkd), who may
// log in, and ulvs.toml, which package config judges. It starts nothing: the units of packaging/image have it run
// before the network and before ulvs.
package appliance
