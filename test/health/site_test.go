package health

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/events"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// binary is the ulvs under test, built by TestMain.
var binary string

func TestMain(m *testing.M) { labtest.Main(m, &binary) }

// The checks of the site. Two retries: a busy machine may be late once and again, without anything being wrong.
const (
	delayLoop      = 500 * time.Millisecond
	connectTimeout = time.Second
	retries        = 2
	retryDelay     = 200 * time.Millisecond
)

// methods are those of the site's services: each has one for both families.
func methods() []lvs.Method { return []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} }

// site is a lab with nginx on its real servers and a director that checks them.
type site struct {
	*lab.Lab
	t      *testing.T
	client *control.Client
	nginx  map[string]*process // by real server
	extra  string              // of the configuration, besides services
	file   string              // the configuration
}

// process is one that the test started.
type process struct {
	cmd *exec.Cmd
	log strings.Builder
}

// end kills the process and waits until it is gone.
func (p *process) end(sig syscall.Signal) error {
	_ = p.cmd.Process.Signal(sig)
	return p.cmd.Wait()
}

func newSite(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{t: t, Lab: labtest.Up(t, lab.Options{Prefix: "ulvshc", RealServers: 3}), nginx: map[string]*process{},
		extra: extra}
	for _, r := range s.Addresses().Reals {
		s.startNginx(r.Name)
	}
	t.Cleanup(func() {
		for _, p := range s.nginx {
			_ = p.end(syscall.SIGKILL)
		}
	})
	s.startDirector()
	return s
}

// launch starts a process in a namespace.
func (s *site) launch(ns string, argv ...string) *process {
	s.t.Helper()
	p := &process{cmd: s.Command(ns, argv[0], argv[1:]...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return p
}

const nginxConfig = `daemon off;
master_process off;
user root;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[1]s/1;
	proxy_temp_path %[1]s/2;
	fastcgi_temp_path %[1]s/3;
	uwsgi_temp_path %[1]s/4;
	scgi_temp_path %[1]s/5;
	server {
		listen 80;
		listen [::]:80;
		location / {
			add_header X-Real-Server %[2]s;
			return 200 "%[2]s\n";
		}
	}
}
`

func (s *site) startNginx(real string) {
	s.t.Helper()
	dir := s.t.TempDir()
	path, err := exec.LookPath("nginx")
	if err != nil {
		testutil.Require(s.t, testutil.NeedNetNS, "nginx is not installed")
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir, real), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.nginx[real] = s.launch(real, path, "-p", dir, "-c", conf)
	testutil.Await(s.t, "nginx on "+real+" to listen", func() bool {
		return s.Do(real, func() error {
			conn, err := net.Dial("tcp", net.JoinHostPort("::1", fmt.Sprint(lab.PortHTTP)))
			if err == nil {
				err = conn.Close()
			}
			return err
		}) == nil
	})
}

// config has a service of each method and family, all of whose real servers are checked by HTTP.
func (s *site) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[node]\nname = \"d1\"\ninterfaces = [\"c0\", \"s0\"]\ncontrol_socket = %q\n", s.ControlSocket("d1"))
	for _, m := range methods() {
		for _, v6 := range []bool{false, true} {
			a := s.Addresses()
			fmt.Fprintf(&b, "\n[[service]]\nvip = %q\nscheduler = \"rr\"\nmethod = %q\ndelay_loop = %q\n"+
				"connect_timeout = %q\nretry = %d\ndelay_before_retry = %q\nwarmup = \"0s\"\non_failure = \"reset\"\n"+
				"check = { type = \"http\", path = \"/\" }\n",
				joinPort(a.VIP(m).Family(v6)), m, delayLoop, connectTimeout, retries, retryDelay)
			for _, r := range a.Reals {
				fmt.Fprintf(&b, "  [[service.real_server]]\n  address = %q\n", joinPort(r.Addr.Family(v6)))
			}
		}
	}
	return b.String() + s.extra
}

func (s *site) startDirector() {
	s.t.Helper()
	s.file = filepath.Join(s.t.TempDir(), "ulvs.toml")
	if err := os.WriteFile(s.file, []byte(s.config()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	p := s.launch("d1", binary, "run", s.file)
	s.t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			s.t.Errorf("ulvs ended with %v", err)
		}
		if s.t.Failed() {
			s.t.Logf("log of ulvs:\n%s", p.log.String())
		}
	})
	s.client = control.NewClient(s.ControlSocket("d1"))
	testutil.Await(s.t, "the first answers of all checks", func() bool {
		list, err := s.client.Health(context.Background())
		for _, svc := range list {
			for _, r := range svc.RealServers {
				if !r.Up || r.Checks[0].Answers == 0 {
					return false
				}
			}
		}
		return err == nil && len(list) > 0
	})
}

// awaitUsed waits until the workers know that a real server is up, or down, in these services: an event is told a
// moment before.
func (s *site) awaitUsed(real lab.Real, up bool, services []string) {
	s.t.Helper()
	own := []string{joinPort(real.Addr.IPv4), joinPort(real.Addr.IPv6)}
	other := func(r control.RealServer) bool {
		return slices.Contains(own, r.Address.String()) && r.TakesClients() != up
	}
	testutil.Await(s.t, fmt.Sprintf("%s to be used: %v", real.Name, up), func() bool {
		list, err := s.client.Services(context.Background(), control.ServiceFilter{})
		return err == nil && !slices.ContainsFunc(list, func(svc control.Service) bool {
			return slices.Contains(services, svc.Name()) && slices.ContainsFunc(svc.RealServers, other)
		})
	})
}

// happened returns the events of a kind about a real server's addresses, by service.
func (s *site) happened(kind events.Kind, real lab.Real, since time.Time) map[string]events.Event {
	s.t.Helper()
	list, err := s.client.RecentEvents(context.Background(), control.EventQuery{
		Filter: events.Filter{Kinds: []events.Kind{kind}}, Limit: 1000,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]events.Event{}
	for _, e := range list {
		own := []string{joinPort(real.Addr.IPv4), joinPort(real.Addr.IPv6)}
		if slices.Contains(own, e.RealServer) && e.Time.After(since) {
			out[e.Service] = e
		}
	}
	return out
}

// clients connects 30 times to each VIP and returns how often the real server answered, by service. A request
// without an answer fails the test.
func (s *site) clients(real string) map[string]int {
	s.t.Helper()
	out := map[string]int{}
	for _, m := range methods() {
		for _, v6 := range []bool{false, true} {
			vip := s.vip(m, v6)
			r := labtest.Load(s.t, s.Lab, lab.LoadOptions{Kind: lab.KindHTTP, Target: vip, Connections: 30, Parallel: 3})
			out["tcp "+vip.String()] = r.ByRealServer[real]
		}
	}
	return out
}
