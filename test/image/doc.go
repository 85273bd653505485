// Package image boots the disk image of make image, by BIOS and by UEFI, from several kinds of disks, and has it carry
// traffic between namespaces. It runs by make image-test: an emulated machine takes half a minute to start.
//
// It owns the machine: a copy of the disk, its console, its cables into a client's and a real server's namespace.
package image
