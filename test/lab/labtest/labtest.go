// Package labtest gives a test a lab of its own: fresh, with its servers, gone when
// the test ends.
//
// It owns the names of such labs. It decides nothing about the lab (package lab) and
// starts no director.
package labtest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// upLimit bounds building a lab, which takes a tenth of a second.
const upLimit = 30 * time.Second

// Up builds a fresh lab under o.Prefix, which has to be the test's own, and takes it
// down when the test ends. What a crashed run left under the prefix is removed
// first. Where namespaces cannot be made the test is skipped, or fails if
// ULVS_REQUIRE contains netns.
func Up(tb testing.TB, o lab.Options) *lab.Lab {
	tb.Helper()
	if os.Geteuid() != 0 {
		testutil.Require(tb, testutil.NeedNetNS, "a lab needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), upLimit)
	defer cancel()
	if _, err := lab.Down(ctx, o.Prefix); err != nil {
		tb.Fatal(err)
	}
	l, err := lab.Up(ctx, o)
	if err != nil {
		testutil.Require(tb, testutil.NeedNetNS, fmt.Sprintf("cannot build a lab: %v", err))
	}
	tb.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// Serve starts the servers of every real server (lab.ServeAll) until the test ends.
// The test's TestMain has to call lab.RunHelper.
func Serve(tb testing.TB, l *lab.Lab) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), upLimit)
	defer cancel()
	stop, err := l.ServeAll(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := stop(); err != nil {
			tb.Error(err)
		}
	})
}

// Load runs a client in c1 and fails the test unless every request was answered.
func Load(tb testing.TB, l *lab.Lab, o lab.LoadOptions) *lab.Report {
	tb.Helper()
	r, err := l.Load(context.Background(), "c1", o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Err(); err != nil {
		tb.Fatal(err)
	}
	return r
}
