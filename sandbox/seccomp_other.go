//go:build !amd64 && !arm64

package sandbox

// auditArch 0: nobody has tried the filter on this processor, so there is none.
const auditArch = 0

var archDenied []Call
