// Package debian tries the Debian package in a Debian: installed by apt, started by its systemd, in the place of a
// lab's director. It runs by "make image-test", not by "make test": it needs a Debian root (image-test.sh makes one and
// keeps it in the cache) and takes a minute.
//
// It owns the container. What the package has is in packaging.
package debian
