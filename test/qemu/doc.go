// Package qemu runs ulvs on machines that this one is not: guests with Debian's kernel, several cores, and NICs with
// several queues, under QEMU's own processor.
//
// It owns the guests: their kernel, their first process, their cables into a namespace of the test's. It decides
// nothing about ulvs, and measures nothing: an emulated processor says nothing about speed. Its tests run by make
// qemu-test only.
package qemu
