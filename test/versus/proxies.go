package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ulvs/bench/site"
	"ulvs/test/lab"
)

// maxProxied is how many connections a proxy may hold: two descriptors each, of 20 000.
const maxProxied = 9900

// proxied starts a proxy on the NAT VIP and knows it by its CPU time: it has no counter that is cheap to ask.
func proxied(s *site.Site, argv ...string) (running, error) {
	var u undo
	if err := u.address(s, s.Addresses().NAT); err != nil {
		return running{}, err
	}
	p, err := s.Start("d1", "", argv...)
	if err != nil {
		return running{}, err
	}
	u.add(p.Stop)
	to := vip(func(a *lab.Addresses) lab.Dual { return a.NAT })(s)[0]
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if s.Shell("c1", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", to.Addr(), to.Port())) == nil {
			break
		}
		if time.Now().After(limit) || !p.Alive() {
			return running{}, fmt.Errorf("%s does not listen: %s %v", argv[0], p.Log(), u.run())
		}
	}
	before := segments(s)
	carried := func() (uint64, error) { return segments(s) - before, nil }
	return running{stop: u.run, pids: p.Family(), carried: carried}, nil
}

// segments is what d1's own TCP and UDP sockets received: nobody but a proxy has any.
func segments(s *site.Site) (n uint64) {
	_ = s.Do("d1", func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			switch {
			case len(f) > 10 && f[0] == "Tcp:" && f[1] != "RtoAlgorithm":
				v, _ := strconv.ParseUint(f[10], 10, 64) // InSegs
				n += v
			case len(f) > 2 && f[0] == "Udp:" && f[1] != "InDatagrams":
				v, _ := strconv.ParseUint(f[1], 10, 64)
				n += v
			}
		}
		return err
	})
	return n
}

func nginx() contender {
	return contender{
		name: "nginx stream", targets: vip(func(a *lab.Addresses) lab.Dual { return a.NAT }), sockets: true,
		start: func(_ context.Context, s *site.Site) (running, error) {
			file, err := s.Write("nginx.conf", nginxConfig(s))
			if err != nil {
				return running{}, err
			}
			return proxied(s, "nginx", "-c", file, "-p", filepath.Dir(file), "-e", "stderr")
		},
	}
}

func nginxConfig(s *site.Site) string {
	a := s.Addresses()
	upstream := func(name, first string, port int) string {
		text := "  upstream " + name + " {\n    " + first + "\n"
		for _, r := range a.Reals {
			text += fmt.Sprintf("    server %s:%d;\n", r.Addr.IPv4, port)
		}
		return text + "  }\n"
	}
	return "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nuser root;\nworker_processes 2;\n" +
		"pid nginx.pid;\nworker_rlimit_nofile 20000;\nevents { worker_connections 19000; }\nstream {\n" +
		upstream("echo", "", lab.PortEcho) + upstream("bulk", "hash $remote_addr;", lab.PortIperf) +
		fmt.Sprintf("  server { listen %[1]s:%[2]d reuseport backlog=4096; proxy_pass echo; }\n"+
			"  server { listen %[1]s:%[2]d udp reuseport; proxy_pass echo; proxy_responses 0; proxy_timeout 2s; }\n"+
			"  server { listen %[1]s:%[3]d; proxy_pass bulk; }\n}\n", a.NAT.IPv4, lab.PortEcho, lab.PortIperf)
}

func haproxy() contender {
	return contender{
		name: "HAProxy tcp", targets: vip(func(a *lab.Addresses) lab.Dual { return a.NAT }), sockets: true, noUDP: true,
		start: func(_ context.Context, s *site.Site) (running, error) {
			file, err := s.Write("haproxy.cfg", haproxyConfig(s))
			if err != nil {
				return running{}, err
			}
			return proxied(s, "haproxy", "-db", "-f", file)
		},
	}
}

func haproxyConfig(s *site.Site) string {
	a := s.Addresses()
	text := fmt.Sprintf("global\n  maxconn %d\n  nbthread 2\ndefaults\n  mode tcp\n  timeout connect 5s\n"+
		"  timeout client 5m\n  timeout server 5m\n  maxconn %d\n", maxProxied, maxProxied)
	for _, l := range []struct {
		name, balance string
		port          int
	}{{"echo", "roundrobin", lab.PortEcho}, {"bulk", "source", lab.PortIperf}} {
		text += fmt.Sprintf("listen %s\n  bind %s:%d backlog 4096\n  balance %s\n", l.name, a.NAT.IPv4, l.port, l.balance)
		for _, r := range a.Reals {
			text += fmt.Sprintf("  server %s %s:%d\n", r.Name, r.Addr.IPv4, l.port)
		}
	}
	return text
}
