package dashboard

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ulvs/control"
	"ulvs/events"
	"ulvs/internal/testutil"
)

// browsers are commands that speak DevTools, the smallest first.
var browsers = []string{"chromium-headless-shell", "headless-shell", "chromium", "chromium-browser", "google-chrome"}

// serve serves d until the test ends, and ends what is streamed then.
func serve(t *testing.T, d *Dashboard) (url string) {
	server := httptest.NewServer(d)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// tab is a page of a headless browser. What its console complains about fails the test.
type tab struct {
	t     *testing.T
	ctx   context.Context
	close func()

	mu         sync.Mutex
	complained []string
}

func newBrowser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes ten seconds")
	}
	path := ""
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	reason := ""
	if path == "" {
		reason = "none of " + strings.Join(browsers, ", ")
	}
	testutil.Require(t, testutil.NeedBrowser, reason)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(testutil.AwaitLimit),
		chromedp.Flag("lang", "en-GB"), chromedp.Flag("force-color-profile", "srgb"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	return ctx
}

func openTab(t *testing.T, browser context.Context, width, height int64) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	ctx, cancel := context.WithTimeout(ctx, 3*testutil.AwaitLimit)
	b := &tab{t: t, ctx: ctx, close: func() { closeTab(); cancel() }}
	t.Cleanup(b.close)
	if err := chromedp.Listen(ctx, b.complain); err != nil {
		t.Fatal(err)
	}
	b.run(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, log.Enable, cdp.Empty{})
		return err
	}))
	return b
}

// complain remembers what the page throws, and what the browser refuses it.
func (b *tab) complain(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.complained = append(b.complained, fmt.Sprintf("%+v", ev.ExceptionDetails))
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError {
			b.complained = append(b.complained, fmt.Sprintf("%+v", ev.Entry))
		}
	}
}

// finish closes the tab, and fails the test with what was complained about.
func (b *tab) finish() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complained {
		b.t.Error("the browser complains: ", c)
	}
	b.close()
}

func (b *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// sees waits until the page's text has all words.
func (b *tab) sees(words ...string) {
	b.t.Helper()
	text := ""
	end := time.Now().Add(testutil.AwaitLimit)
	for {
		text = eval[string](b, "document.body.innerText")
		missing := ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("the page does not show %q, but:\n%s", missing, text)
		}
		b.run(chromedp.Sleep(50 * time.Millisecond))
	}
}

// eval returns what an expression says.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// awaits waits until an expression is true.
func (b *tab) awaits(expression string) {
	b.t.Helper()
	end := time.Now().Add(testutil.AwaitLimit)
	for !eval[bool](b, expression) {
		if time.Now().After(end) {
			b.t.Fatalf("still not: %s\n%s", expression, eval[string](b, "document.body.innerText"))
		}
		b.run(chromedp.Sleep(50 * time.Millisecond))
	}
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.run(chromedp.Click(chromedp.CSS(selector)))
}

// fill types text into a field, in place of what is there.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	eval[bool](b,
		fmt.Sprintf("(() => { const f = document.querySelector(%q); f.value = ''; f.focus(); return true; })()",
			selector))
	if text == "" {
		eval[bool](b, fmt.Sprintf("document.querySelector(%q).dispatchEvent(new Event('input'))", selector))
		return
	}
	b.run(chromedp.KeyEvent(text))
}

func (b *tab) rows() int { return eval[int](b, "document.querySelectorAll('tbody tr').length") }

func TestEveryPageShowsWhatTheDirectorSays(t *testing.T) {
	browser := newBrowser(t)
	d, f := newBed(time.Now().UTC())
	server := serve(t, d)
	b := openTab(t, browser, 1440, 900)
	b.run(chromedp.Navigate(server))
	for _, page := range []struct {
		name  string
		check func(*testing.T, *tab, *fake)
	}{
		{"overview", checkOverview}, {"services", checkServices}, {"service", checkService}, {"sessions",
			checkSessions},
		{"takeover", checkTakeover}, {"events", checkEvents}, {"director", checkDirector}, {"keys", checkKeys},
	} {
		page.check(t, b, f)
		if t.Failed() {
			t.Fatalf("on page %s", page.name)
		}
	}
	b.finish()
}

func checkOverview(t *testing.T, b *tab, _ *fake) {
	const line = "document.querySelector('.plot svg path.l')"
	b.sees("lvs1", "live", "MASTER", "7 services, 21 real servers", "Connections per second", "Traffic",
		"Worker load",
		"Needs attention", "no real server takes clients", "lo:0 missing?", "Drops per second, by reason",
		"drop_no_destination",
		"config edited", "generation 218")
	if n := eval[int](b, "document.querySelectorAll('.plot svg path.l').length"); n < 12 {
		t.Errorf("%d lines are plotted", n)
	}
	points := eval[int](b, line+".getAttribute('d').split('L').length")
	if points != Points {
		t.Errorf("a line has %d points, want %d", points, Points)
	}
	if got := eval[string](b, "document.title"); !strings.HasSuffix(got, "lvs1 · ulvs") || !strings.HasPrefix(got,
		"(") {
		t.Errorf("the title is %q", got)
	}
	eval[bool](b, `document.querySelector('.plot svg').dispatchEvent(
		new PointerEvent('pointermove', {clientX: 300, clientY: 300, bubbles: true}))`)
	b.awaits("!document.querySelector('.tip').hidden")
	b.awaits(`/\d\d:\d\d:\d\d/.test(document.querySelector('.tip').innerText)`)
}

func checkServices(t *testing.T, b *tab, _ *fake) {
	b.click(`.tabs a[data-page="services"]`)
	b.sees("tcp 192.0.2.10:443", "udp 192.0.2.53:53", "tcp [2001:db8::10]:443", "6 / 6", "3 / 4", "partly up",
		"quorum lost",
		"rr, persistent 50 s", "sh, sh-fallback, sh-port", "TUN", "1–7 of 7")
	if n := b.rows(); n != 7 {
		t.Errorf("%d rows", n)
	}
	b.fill("main input", "10.0.2.21")
	b.awaits("document.querySelectorAll('tbody tr').length === 1")
	b.sees("tcp 192.0.2.11:3306", "1–1 of 1")
	b.fill("main input", "nothing like it")
	b.sees("No service matches.")
	b.fill("main input", "")
	b.awaits("document.querySelectorAll('tbody tr').length === 7")
	eval[bool](b, `(() => { const s = document.querySelector('main select'); s.value = 'down';
		return s.dispatchEvent(new Event('change')); })()`)
	b.awaits("document.querySelector('tbody tr').innerText.includes('192.0.2.12:8080')")
}

func checkService(t *testing.T, b *tab, f *fake) {
	b.click(`tbody a[href$="192.0.2.10%3A80"]`)
	b.sees("tcp 192.0.2.10:80", "10.0.0.23:80", "down",
		"real server answers on its own address but not on the VIP: lo:0 missing?",
		"Share of sessions", "33 %", "02:00:0a:00:00:21 eth1", "Active sessions",
		"Last answer", "ok: status 200", "3.1 ms", "3 of 30", "0 of 1")
	if n := b.rows(); n != 8 {
		t.Errorf("%d real servers and checks", n)
	}
	f.set(func(list []control.Service) { list[1].RealServers[0].State = control.StateDraining })
	b.awaits("document.querySelector('tbody tr').innerText.includes('draining')")
}

func checkSessions(t *testing.T, b *tab, _ *fake) {
	b.click(`.tabs a[data-page="sessions"]`)
	b.sees("198.51.100.0:40000", "ESTABLISHED", "SYN_RECV", "14m 53s", "1–100 of more")
	b.run(chromedp.Click(chromedp.CSS(".pages button:last-child")))
	b.sees("101–200 of more", "198.51.100.100:41700")
	b.fill(`input[name="client"]`, "198.51.100.4")
	b.click(".filters button")
	b.sees("198.51.100.4:40068", "tun", "1–1 of 1")
	b.fill(`input[name="client"]`, "www")
	b.click(".filters button")
	b.sees(`client: "www" is no address`)
	if n := b.rows(); n != 0 {
		t.Errorf("%d rows of a wrong filter", n)
	}
	b.complained = nil // of that answer
}

func checkTakeover(t *testing.T, b *tab, f *fake) {
	b.click(`.tabs a[data-page="takeover"]`)
	b.sees("VI_1", "MASTER", "VI_2", "BACKUP", "80 of 100", "192.0.2.10, 192.0.2.11", "lvs1, term 4", "in 42s",
		"may take over", "lvs2", "in sync", "3 ms", "100.0 %", "13.4k", "missing: 10.9.0.3",

		"other_vrid",
		"a higher priority was heard")
	f.mu.Lock()
	f.vrrp = control.VRRP{}
	f.mu.Unlock()
	b.sees("This director holds its VIPs alone")
}

func checkEvents(t *testing.T, b *tab, f *fake) {
	b.click(`.tabs a[data-page="events"]`)
	b.sees("server draining", "weight 1", "MASTER → BACKUP", "live")
	b.click(".chips button:nth-child(2)")
	b.awaits("document.querySelectorAll('tbody tr').length === 1")
	b.click(".chips button:nth-child(1)")
	f.journal.Add(events.Event{Kind: events.ServerUp, Service: "tcp <b>192.0.2.10:80</b>",
		RealServer: "10.0.0.23:80"})
	b.awaits("document.querySelector('tbody tr').innerText.includes('tcp <b>192.0.2.10:80</b>')") // text, not HTML
	before := b.rows()
	b.click(".head > button")
	f.journal.Add(events.Event{Kind: events.ServerDown, Service: "tcp 192.0.2.10:80", RealServer: "10.0.0.23:80"})
	b.sees("paused")
	b.click(".head > button")
	b.awaits(fmt.Sprintf("document.querySelectorAll('tbody tr').length === %d", before+1))
	b.fill("main input", "10.0.0.23")
	b.awaits("document.querySelectorAll('tbody tr').length === 3")
}

func checkDirector(_ *testing.T, b *tab, _ *fake) {
	b.click(`.tabs a[data-page="director"]`)
	b.sees("/etc/ulvs/ulvs.toml", "pid 4711", "2d 3h", "171.0 MiB", "eth0", "native, zerocopy", "tx_dr",
		"drop_no_service", "sent on")
}

func checkKeys(t *testing.T, b *tab, _ *fake) {
	b.run(chromedp.KeyEvent("2"))
	b.sees("by name")
	b.run(chromedp.KeyEvent("/"))
	if got := eval[string](b, "document.activeElement.type"); got != "search" {
		t.Errorf("/ leads to %q", got)
	}
	b.run(chromedp.KeyEvent("6")) // text, not a key
	if got := eval[string](b, "document.activeElement.value + location.hash"); !strings.HasSuffix(got,
		"6#/services") {
		t.Errorf("in a field 6 is %q", got)
	}
	b.run(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent("t"))
	before := eval[string](b, "getComputedStyle(document.body).color")
	b.run(chromedp.KeyEvent("t"))
	if after := eval[string](b, "getComputedStyle(document.body).color"); after == before {
		t.Errorf("t changes nothing: %s", after)
	}
	b.run(chromedp.KeyEvent("1"))
	b.awaits("document.querySelector('.problems a') !== null")
	for range 2 { // the list, which scrolls, and its first link
		b.run(chromedp.KeyEvent(kb.Tab))
	}
	if got := eval[string](b,
		"document.activeElement.tagName + getComputedStyle(document.activeElement).outlineStyle"); got != "Asolid" {
		t.Errorf("Tab leads to %q", got)
	}
}

func TestAPhoneNeedsNoSidewaysScrolling(t *testing.T) {
	browser := newBrowser(t)
	d, _ := newBed(time.Now().UTC())
	server := serve(t, d)
	b := openTab(t, browser, 390, 844)
	for _, hash := range []string{"", "services", "service/tcp%20192.0.2.10%3A80", "sessions", "takeover", "events",
		"director"} {
		b.run(chromedp.Navigate(server + "/#/" + hash))
		b.sees("live")
		if wide := eval[int](b, "document.documentElement.scrollWidth"); wide > 390 {
			t.Errorf("#/%s is %d pixels wide", hash, wide)
		}
	}
	b.finish()
}

// TestScreenshots writes docs/dashboard-*.png when ULVS_SCREENSHOTS names the folder: make screenshots.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("ULVS_SCREENSHOTS")
	if dir == "" {
		t.Skip("ULVS_SCREENSHOTS is not set: make screenshots")
	}
	browser := newBrowser(t)
	d, f := newBed(time.Date(2026, 11, 26, 14, 30, 0, 0, time.UTC))
	server := serve(t, d)
	for _, s := range []struct {
		name, hash, theme string
		width, height     int64
		wait              string
	}{
		{"overview", "#/", "dark", 1440, 960, "Needs attention"},
		{"overview-light", "#/", "light", 1440, 960, "Needs attention"},
		{"services", "#/services", "dark", 1440, 560, "1–7 of 7"},
		{"service", "#/service/tcp%20192.0.2.10%3A443", "dark", 1440, 860, "10.0.0.26:443"},
		{"sessions", "#/sessions", "light", 1440, 700, "ESTABLISHED"},
		{"events", "#/events", "dark", 1440, 560, "quorum down"},
		{"takeover", "#/takeover", "dark", 1440, 560, "VI_2"},
		{"director", "#/director", "light", 1440, 760, "Left to the kernel"},
		{"mobile", "#/", "dark", 390, 1500, "Needs attention"},
	} {
		b := openTab(t, browser, s.width, s.height)
		b.run(chromedp.Navigate(server + "/" + s.hash))
		eval[string](b, fmt.Sprintf("document.documentElement.dataset.theme = %q", s.theme))
		b.sees("live", s.wait)
		f.pass(time.Second, 0)
		b.run(chromedp.Sleep(400 * time.Millisecond)) // the first paint of the plots
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := writeSmall(filepath.Join(dir, "dashboard-"+s.name+".png"), png); err != nil {
			t.Fatal(err)
		}
		b.finish()
	}
}
