// Package packaging holds what ulvs is installed with: units, the Debian package's scripts, groups, the list of what
// the binary is made of, the disk image.
//
// It owns files, and tests of them; there is no code here. The package is tried in a Debian by test/debian, the
// image on emulated machines by test/image.
package packaging
