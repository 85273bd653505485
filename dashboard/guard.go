package dashboard

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// policy lets the page load its own files and nothing else, run no inline code, and be in no frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard refuses what no browser of an operator sends: other methods, requests of other sites, and names that
// are not ours. The last is against DNS rebinding: a page of evil.example whose name suddenly leads to
// 127.0.0.1 still calls us evil.example.
func guard(hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		switch {
		case !knownHost(r.Host, hosts):
			http.Error(w, "this dashboard is not called so; see dashboard.hosts", http.StatusMisdirectedRequest)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this page is read-only", http.StatusMethodNotAllowed)
		case foreign(r.Header.Get("Sec-Fetch-Site")) && strings.HasPrefix(r.URL.Path, "/api/"):
			http.Error(w, "not for other sites", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// knownHost reports whether a Host header names us: by an address, which no DNS answer can fake, as localhost, or
// by one of hosts.
func knownHost(host string, hosts []string) bool {
	if _, err := netip.ParseAddrPort(host); err == nil {
		return true
	}
	name, _, _ := strings.Cut(host, ":")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	same := func(s string) bool { return strings.EqualFold(s, name) }
	return same("localhost") || slices.ContainsFunc(hosts, same)
}

func foreign(site string) bool { return site == "cross-site" || site == "same-site" }
