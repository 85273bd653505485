package health

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/control"
	"ulvs/events"
	"ulvs/health"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

// documentConf are the source document's two snippets with its comments. It loses a closing brace of the instance,
// and a line of each comment that it wraps; the addresses and the interface are the lab's.
const documentConf = `vrrp_instance VI_1 { //定义vrrp实例
state MASTER //主LVS是MASTER,从的BACKUP
interface eth0 //LVS监控的网络接口
virtual_router_id 51 //同一实例下virtual_router_id必须相同
priority 100 //定义优先级，数字越大，优先级越高
advert_int 5 //MASTER与BACKUP负载均衡器之间同步检查的时间间隔，单位是秒
authentication { //验证类型和密码
auth_type PASS
auth_pass 1111
}
}
virtual_server 192.168.1.8 80 { //定义虚拟服务器
delay_loop 6 //健康检查时间，单位是秒
lb_algo rr //负载调度算法，这里设置为rr，即轮询算法
lb_kind DR //LVS实现负载均衡的机制，可以有NAT、TUN和DR三个模式可选
persistence_timeout 50 //会话保持时间，单位是秒
protocol TCP //转发协议类型，有tcp和udp两种
sorry_server 127.0.0.1 80 //web服务器全部失败，vip指向本机80端口
real_server 192.168.1.16 80 { //定义WEB服务器
weight 1 //权重
TCP_CHECK { //通过tcpcheck判断RealServer的健康状态
connect_timeout 5 //连接超时时间
nb_get_retry 3 //重连次数
delay_before_retry 3 //重连间隔时间
connect_port 80 //检测端口
}
}
}
`

// importDocument turns the snippets into a file that a director of the lab runs.
func (s *site) importDocument(real lab.Real) string {
	s.t.Helper()
	a := s.Addresses()
	text := strings.NewReplacer("192.168.1.8", a.DR.IPv4.String(), "192.168.1.16", real.Addr.IPv4.String(),
		"eth0", "c0").Replace(documentConf)
	dir := s.t.TempDir()
	conf, out := filepath.Join(dir, "keepalived.conf"), filepath.Join(dir, "ulvs.toml")
	must(s.t, os.WriteFile(conf, []byte(text), 0o600))
	if said, err := s.Command("d1", binary, "import", conf, "-o", out).CombinedOutput(); err != nil {
		s.t.Fatalf("import: %v\n%s", err, said)
	}
	toml, err := os.ReadFile(out)
	must(s.t, err)
	// What no keepalived.conf says: the interface towards the real servers, and where this lab's director listens.
	edited := strings.Replace(string(toml), `interfaces = ["c0"]`,
		fmt.Sprintf("interfaces = [\"c0\", \"s0\"]\ncontrol_socket = %q", s.ControlSocket("d1")), 1)
	must(s.t, os.WriteFile(out, []byte(edited), 0o600))
	if said, err := s.Command("d1", binary, "check", out).CombinedOutput(); err != nil {
		s.t.Fatalf("check: %v\n%s", err, said)
	}
	s.figures(out)
	return out
}

// figures wants the check to be the document's.
func (s *site) figures(file string) {
	s.t.Helper()
	c, err := config.Load(file, config.Options{})
	must(s.t, err)
	text, err := json.Marshal(c.State().Care)
	must(s.t, err)
	for _, want := range []string{`"delay_loop":"6s"`, `"connect_timeout":"5s"`, `"retry":3`, `"delay_before_retry":"3s"`,
		`"connect_port":80`, fmt.Sprintf(`"type":%q`, health.KindTCP)} {
		if !strings.Contains(string(text), want) {
			s.t.Errorf("the imported check lacks %s: %s", want, text)
		}
	}
}

// The source document's director: rr, DR, persistence 50, a TCP check every 6 s with 3 retries 3 s apart, and
// the director's own port 80 when all web servers fail.
func TestTheDocumentsDirectorDoesWhatItSays(t *testing.T) {
	s := &site{t: t, Lab: labtest.Up(t, lab.Options{Prefix: "ulvshd", RealServers: 1}), nginx: map[string]*process{}}
	real := s.Addresses().Reals[0]
	s.startNginx(real.Name)
	t.Cleanup(func() { _ = s.nginx[real.Name].end(syscall.SIGKILL) })
	sorry, err := s.Serve(context.Background(), "d1", lab.ServeOptions{Name: "sorry", HTTP: "127.0.0.1:80"})
	must(t, err)
	t.Cleanup(func() { _ = sorry.Stop() })
	file := s.importDocument(real)
	began := time.Now()
	p := s.launch("d1", binary, "run", file)
	t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("ulvs ended with %v", err)
		}
		if t.Failed() {
			t.Logf("log of ulvs:\n%s", p.log.String())
		}
	})
	s.client = control.NewClient(s.ControlSocket("d1"))
	s.awaitMaster(began)

	list := s.Command("d1", binary, "ipvsadm", "-Ln")
	list.Env = append(os.Environ(), "ULVS_SOCKET="+s.ControlSocket("d1"))
	out, err := list.CombinedOutput()
	must(t, err)
	for _, want := range []string{"TCP  " + s.vip(lvs.MethodDR, false).String() + " rr persistent 50",
		"  -> " + joinPort(real.Addr.IPv4) + "                Route   1 "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("ipvsadm -Ln lacks %q:\n%s", want, out)
		}
	}
	s.answeredBy(real.Name)
	s.awaitChecked()

	died := time.Now()
	must(t, killWeb(s, real))
	s.awaitServer(events.ServerDown, real, died)
	// At least its retries; at most a loop before them, and what a busy machine adds.
	took := s.happenedAt(events.ServerDown, real, died).Sub(died)
	if took < 9*time.Second {
		t.Errorf("found after %v, want 3 retries 3 s apart", took)
	}
	t.Logf("found after %v", took)
	s.awaitOnly("127.0.0.1:80")
	s.answeredBy("sorry")

	back := time.Now()
	must(t, restartWeb(s, real))
	s.awaitServer(events.ServerUp, real, back)
	s.awaitOnly(joinPort(real.Addr.IPv4))
	s.answeredBy(real.Name)
}

// awaitMaster waits for the first advert's time: state MASTER, advert_int 5.
func (s *site) awaitMaster(began time.Time) {
	s.t.Helper()
	testutil.Await(s.t, "the instance to be MASTER", func() bool {
		v, err := s.client.VRRP(context.Background())
		return err == nil && len(v.Instances) == 1 && v.Instances[0].State == "MASTER"
	})
	if took := time.Since(began); took < 5*time.Second {
		s.t.Errorf("MASTER after %v: nobody could be heard with advert_int 5", took)
	}
}

// awaitChecked waits for the first answer, which comes within a delay_loop of the start: no failure before it has
// retries, as with keepalived.
func (s *site) awaitChecked() {
	s.t.Helper()
	testutil.Await(s.t, "the first check to be answered", func() bool {
		list, err := s.client.Health(context.Background())
		return err == nil && len(list) == 1 && len(list[0].RealServers) == 1 &&
			len(list[0].RealServers[0].Checks) == 1 && list[0].RealServers[0].Checks[0].Answers > 0
	})
}

// awaitServer waits longer than testutil.Await: the document's times are long.
func (s *site) awaitServer(kind events.Kind, real lab.Real, since time.Time) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testutil.AwaitLimit)
	defer cancel()
	q := control.EventQuery{Filter: events.Filter{Kinds: []events.Kind{kind}}, Limit: 1000}
	seen := false
	err := s.client.FollowEvents(ctx, q, func(e control.StreamEvent) bool {
		seen = e.Event.RealServer == joinPort(real.Addr.IPv4) && e.Event.Time.After(since)
		return !seen
	})
	if !seen {
		s.t.Fatalf("no %s of %s: %v", kind, real.Name, err)
	}
}

func (s *site) happenedAt(kind events.Kind, real lab.Real, since time.Time) time.Time {
	s.t.Helper()
	for _, e := range s.happened(kind, real, since) {
		return e.Time
	}
	s.t.Fatalf("no %s of %s", kind, real.Name)
	return time.Time{}
}

// awaitOnly waits until the workers send clients to one server and no other: an event is told a moment before.
func (s *site) awaitOnly(address string) {
	s.t.Helper()
	testutil.Await(s.t, "only "+address+" to take clients", func() bool {
		list, err := s.client.Services(context.Background(), control.ServiceFilter{})
		if err != nil || len(list) != 1 {
			return false
		}
		var takes []string
		for _, r := range list[0].RealServers {
			if r.TakesClients() {
				takes = append(takes, r.Address.String())
			}
		}
		return slices.Equal(takes, []string{address})
	})
}

// answeredBy wants all answers of the VIP to come from one server.
func (s *site) answeredBy(name string) {
	s.t.Helper()
	r := labtest.Load(s.t, s.Lab, lab.LoadOptions{Kind: lab.KindHTTP, Target: s.vip(lvs.MethodDR, false), Connections: 10,
		Parallel: 2})
	if r.ByRealServer[name] != 10 {
		s.t.Errorf("answered by %v, want 10 times by %s", r.ByRealServer, name)
	}
}
