package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ulvs/config"
)

// trial is a machine in a folder.
type trial struct {
	*Start
	t    *testing.T
	out  bytes.Buffer
	done []string // what it did besides files
}

// SetHostname notes it.
func (m *trial) SetHostname(name string) error {
	m.done = append(m.done, "hostname "+name)
	return nil
}

// SetPassword notes it.
func (m *trial) SetPassword(hash, plain string) error {
	m.done = append(m.done, "password "+hash+plain)
	return nil
}

// newTrial has two interfaces, and answers for whoever is asked; no answers: nobody is there.
func newTrial(t *testing.T, answers string) *trial {
	m := &trial{t: t}
	m.Start = &Start{Root: t.TempDir(), Config: config.Options{}, System: m, Out: &m.out}
	m.Press = func(time.Duration) *Dialog {
		if answers == "" {
			return nil
		}
		return NewDialog(strings.NewReader(answers), &m.out, nil)
	}
	for i, name := range []string{"eth0", "eth1"} {
		m.write("sys/class/net/"+name+"/address", fmt.Sprintf("52:54:00:00:00:%02d\n", i+1))
		m.write("sys/class/net/"+name+"/device/driver/module", "")
	}
	return m
}

func (m *trial) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.Root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		m.t.Fatal(err)
	}
}

// wants fails unless it ran as it should and said so.
func (m *trial) wants(err error, fails bool, said string) {
	m.t.Helper()
	if (err != nil) != fails || !strings.Contains(m.out.String(), said) {
		m.t.Errorf("%v, said %q, want %q", err, m.out.String(), said)
	}
	m.out.Reset()
}

const goodWords = "quiet ulvs.hostname=lvs1 ulvs.address=eth0:10.0.0.2/24 ulvs.vip=10.0.0.9:80,dr,10.0.0.3 " +
	"ulvs.password-hash=$6$salt$0123456789 "

func TestWordsConfigureOnceAndAgainWhenTheyChange(t *testing.T) {
	m := newTrial(t, "")
	m.write("proc/cmdline", goodWords)
	m.wants(m.Run(), false, "configured by the words")
	if got := strings.Join(m.done, ", "); got != "hostname lvs1, password $6$salt$0123456789" {
		t.Errorf("it did %s", got)
	}
	if text := m.text(ConfigFile); !strings.Contains(text, `vip = "10.0.0.9:80"`) {
		t.Errorf("ulvs.toml: %s", text)
	}
	mine := m.text(ConfigFile) + "# mine\n"
	m.write(ConfigFile, mine)
	m.wants(m.Run(), false, "configured already")
	if m.text(ConfigFile) != mine {
		t.Error("what was written by hand is gone")
	}
	m.write("proc/cmdline", goodWords+"ulvs.vip=10.0.0.9:443,dr,10.0.0.3")
	m.wants(m.Run(), false, "configured by the words")
	if !strings.Contains(m.text(ConfigFile), ":443") || m.text(ConfigFile+".old") != mine {
		t.Error("other words have to make another file, and keep the one before")
	}
	m.write("proc/cmdline", "ulvs.address=eth1:dhcp")
	m.wants(m.Run(), false, "configured by the words")
	const network = "etc/systemd/network/10-ulvs-"
	if m.text(network+"eth0.network") != "" || m.text(network+"eth1.network") == "" {
		t.Error("the network is not what the last words say")
	}
}

func TestTheFileOfTheBootPartitionIsReadBeforeTheCommandLine(t *testing.T) {
	m := newTrial(t, "")
	m.write(WordsFile, "# ulvs.nonsense\nulvs.hostname=a\nulvs.address=eth1:10.0.0.2/24\n")
	m.write("proc/cmdline", "ulvs.hostname=b")
	m.wants(m.Run(), false, "configured by the words")
	if m.text("etc/hostname") != "b\n" || m.text("etc/systemd/network/10-ulvs-eth1.network") == "" {
		t.Errorf("it is called %q", m.text("etc/hostname"))
	}
}

func TestBadWordsChangeNothing(t *testing.T) {
	for _, words := range []string{"ulvs.hostname=_", "ulvs.hostname=a ulvs.address=eth7:dhcp"} {
		m := newTrial(t, "")
		m.write("proc/cmdline", words)
		m.wants(m.Run(), true, "nothing was changed")
		if m.text("etc/hostname") != "" || m.text(AppliedFile) != "" || m.done != nil {
			t.Errorf("%s: something was changed", words)
		}
	}
}

const goodAnswers = "lvs1\n\n10.0.0.2/24\n10.1.0.2/24\n10.0.0.1\n10.0.0.9:80\nnat\nrr\n10.1.0.3,10.1.0.4:8080\n" +
	"none\nsecret\nyes\n"

func TestAnswersConfigure(t *testing.T) {
	m := newTrial(t, goodAnswers)
	m.wants(m.Run(), false, "ulvs firstboot: configured\n")
	want := []string{`interfaces = ["eth0", "eth1"]`, `vip = "10.0.0.9:80"`, `method = "nat"`, `scheduler = "rr"`,
		`address = "10.1.0.4:8080"`}
	for _, w := range want {
		if text := m.text(ConfigFile); !strings.Contains(text, w) {
			t.Errorf("no %s in\n%s", w, text)
		}
	}
	if text := m.text("etc/systemd/network/10-ulvs-eth0.network"); !strings.Contains(text, "Gateway=10.0.0.1") {
		t.Errorf("eth0: %s", text)
	}
	if got := strings.Join(m.done, ", "); got != "hostname lvs1, password secret" {
		t.Errorf("it did %s", got)
	}
	m.wants(m.Run(), false, "") // and is not asked again
}

func TestAWrongAnswerIsAskedForAgain(t *testing.T) {
	const network = "lvs1\neth0\n10.0.0.2/24\nnone\n"
	m := newTrial(t, "_\nlvs1\neth7\neth0\n10.0.0.2\n10.0.0.2/24\nx\nnone\n10.0.0.9\n10.0.0.9:80\nDR\n\n?\nwlcc\n\n"+
		"10.0.0.3\nnone\nnone\n"+network+"10.0.0.9:80\n\n\n10.0.0.3\nnone\nnone\nperhaps\nno\nyes\n")
	err := m.Run()
	for _, want := range []string{
		"want letters", "no interface eth7", "want an address with", `"x": want an address`, "want an address and a port",
		`"DR": want dr, nat or tun`, `"?": want a scheduler`, `"" is no real server`, `unknown scheduler "wlcc"`,
		"Once more", "yes, or skip", "then say skip",
	} {
		if !strings.Contains(m.out.String(), want) {
			t.Errorf("never said %q:\n%s", want, &m.out)
		}
	}
	if err != nil || !strings.Contains(m.text(ConfigFile), `scheduler = "wlc"`) {
		t.Errorf("%v: %s", err, m.text(ConfigFile))
	}
}

func TestSkippingChangesNothing(t *testing.T) {
	for _, answers := range []string{"skip\n", "lvs1\n", "lvs1\nskip\n",
		strings.TrimSuffix(goodAnswers, "yes\n") + "skip\n", strings.Repeat("a", 2*maxAnswer), ""} {
		m := newTrial(t, answers)
		said := "skipped"
		if answers == "" {
			said = "nobody is here"
		}
		m.wants(m.Run(), false, said)
		if m.text("etc/hostname") != "" || m.text(AppliedFile) != "" || m.done != nil {
			t.Errorf("%q: something was changed", answers)
		}
	}
}

func TestAMachineThatHasAConfigurationIsNotAsked(t *testing.T) {
	for name, words := range map[string]string{ConfigFile: "", AppliedFile: "", "nothing": "ulvs.ask=no"} {
		m := newTrial(t, "")
		m.Press = func(time.Duration) *Dialog { t.Errorf("with %s it asks", name); return nil }
		m.write(name, "x")
		m.write("proc/cmdline", words)
		m.wants(m.Run(), false, "")
	}
}

func TestAConfigurationIsFetched(t *testing.T) {
	text := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
	defer server.Close()
	m := newTrial(t, "")
	if err := m.Fetch(context.Background()); err != nil {
		t.Errorf("without a URL: %v", err)
	}
	m.write(URLFile, server.URL+"\n")
	text = "[node]\ninterfaces = [\"eth0\"]\n"
	if err := m.Fetch(context.Background()); err != nil || m.text(ConfigFile) != text {
		t.Errorf("%v: %q", err, m.text(ConfigFile))
	}
	good := text
	text = "nonsense = 1\n"
	if err := m.Fetch(context.Background()); err == nil || m.text(ConfigFile) != good {
		t.Errorf("a bad one: %v, and now there is %q", err, m.text(ConfigFile))
	}
	server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Fetch(ctx); err == nil || m.text(ConfigFile) != good {
		t.Errorf("without a server: %v, and now there is %q", err, m.text(ConfigFile))
	}
}
