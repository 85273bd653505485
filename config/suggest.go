package config

import "strings"

// hints are words of keepalived.conf and common slips, with ours.
var hints = map[string]string{
	"lb_algo": "scheduler", "lvs_sched": "scheduler", "algorithm": "scheduler",
	"lb_kind": "method", "lvs_method": "method", "forward": "method",
	"virtual_server": "service", "services": "service", "real_servers": "real_server", "server": "real_server",
	"uthreshold": "upper_threshold", "lthreshold": "lower_threshold", "ops": "one_packet",
	"tcp_timeout": "tcp", "tcp_fin": "tcpfin", "udp_timeout": "udp", "tun_type": "tunnel_type",
	"fwmark": "mark", "fwm": "mark", "marks": "mark", "sysctl": "settings", "src": "source", "dst": "destination",
	"tun_port": "tunnel_port", "port": "ports",
	"sorry_server_lvs_method": "sorry_server_method", "tcp_check": "check", "http_get": "check", "ssl_get": "check",
	"misc_check": "check", "dns_check": "check", "smtp_check": "check", "ping_check": "check", "udp_check": "check",
	"file_check": "check", "misc_path": "path", "misc_timeout": "timeout", "misc_dynamic": "dynamic", "url": "urls",
	"enable_sni": "sni", "misc": "script", "ssl": "https", "track_file": "path", "drain": "inhibit", "rst": "reset",
	"masq": "nat", "masquerading": "nat", "gatewaying": "dr", "route": "dr", "ipip": "tun", "tunnel": "tun",
}

// suggest returns the known word that was most likely meant by word, "" if none is near.
func suggest(word string, known []string) string {
	word = strings.ToLower(word)
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if hints[word] == k {
			return k
		}
		if d := distance(word, k, bestDistance); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b, or limit if it is not below it.
func distance(a, b string, limit int) int {
	if swapped(a, b) {
		return min(1, limit) // one slip of the fingers, not two
	}
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}

// swapped reports whether a and b differ by two neighbouring letters that changed places.
func swapped(a, b string) bool {
	for i := 0; len(a) == len(b) && i+1 < len(a); i++ {
		if a[i] != b[i] {
			return a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
		}
	}
	return false
}

// wouldBeRight ends a complaint about word: the likely one, or all of them.
func wouldBeRight(word string, known []string) string {
	if s := suggest(word, known); s != "" {
		return "did you mean " + s + "?"
	}
	return "known: " + strings.Join(known, ", ")
}
