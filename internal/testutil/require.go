package testutil

import (
	"os"
	"strings"
	"testing"
)

// What a test may need of the machine: the words of ULVS_REQUIRE.
const (
	NeedNetNS = "netns" // root, or CAP_SYS_ADMIN and CAP_NET_ADMIN: namespaces and links
	NeedAFXDP = "afxdp" // loading XDP programs and opening AF_XDP sockets as well
	// NeedBrowser is Chromium, or its headless shell alone.
	NeedBrowser = "browser"
	// NeedHugePages is a kernel that gives files in memory huge pages (MADV_COLLAPSE, Linux 6.1), and has some left.
	NeedHugePages = "hugepages"
	// NeedSystemd is systemd's tools; it need not run.
	NeedSystemd = "systemd"
	// NeedTmux is tmux, a terminal for programs that want one.
	NeedTmux = "tmux"
)

// Require ends the test when the machine lacks what it needs; reason says what is
// missing, and an empty reason means nothing is. The test is skipped, or fails
// if ULVS_REQUIRE (words separated by commas or spaces) contains need, so that
// CI cannot pass by skipping.
func Require(tb testing.TB, need, reason string) {
	tb.Helper()
	if reason == "" {
		return
	}
	if Required(need) {
		tb.Fatalf("%s: %s, and ULVS_REQUIRE=%s forbids to skip", need, reason, os.Getenv("ULVS_REQUIRE"))
	}
	tb.Skipf("%s: %s", need, reason)
}

// Required tells whether ULVS_REQUIRE contains need.
func Required(need string) bool {
	for _, word := range strings.FieldsFunc(os.Getenv("ULVS_REQUIRE"), isSeparator) {
		if word == need {
			return true
		}
	}
	return false
}

func isSeparator(r rune) bool { return r == ',' || r == ' ' }
