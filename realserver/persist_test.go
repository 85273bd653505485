package realserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newKeeper returns one in a folder of its own, with a systemctl that writes down how it was called.
func newKeeper(t *testing.T) (k Keeper, calls func() string) {
	t.Helper()
	dir := t.TempDir()
	k = Keeper{Config: filepath.Join(dir, "etc/realserver.json"), UnitDir: filepath.Join(dir, "units"),
		Packaged: filepath.Join(dir, "packaged"), Systemd: dir, Systemctl: filepath.Join(dir, "systemctl")}
	log := filepath.Join(dir, "calls")
	if err := os.WriteFile(k.Systemctl, []byte("#!/bin/sh\necho \"$@\" >>"+log+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return k, func() string {
		text, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "; ")
	}
}

func TestKeepStartsAUnitAndForgetRemovesIt(t *testing.T) {
	k, calls := newKeeper(t)
	for _, vip := range []string{"192.168.1.8", "192.168.1.9"} {
		if err := k.Keep(t.Context(), Config{Method: "dr", VIPs: addrs(vip)}, "/opt/ulvs"); err != nil {
			t.Fatal(err)
		}
		if got := calls(); got != "daemon-reload; enable ulvs-realserver.service; restart ulvs-realserver.service" {
			t.Errorf("systemctl was called: %s", got)
		}
	}
	unit, err := os.ReadFile(filepath.Join(k.UnitDir, UnitName))
	if err != nil || !strings.Contains(string(unit), "ExecStart=/opt/ulvs realserver watch --config "+k.Config+"\n") {
		t.Errorf("unit: %v\n%s", err, unit)
	}
	if list, err := k.Configs(); err != nil || len(list) != 1 || len(list[0].VIPs) != 2 {
		t.Errorf("kept %+v, %v", list, err)
	}
	if had, err := k.Forget(t.Context(), "dr", addrs("192.168.1.8")); !had || err != nil {
		t.Errorf("forget one = %v, %v", had, err)
	}
	if got := calls(); got != "restart ulvs-realserver.service" {
		t.Errorf("systemctl was called: %s", got)
	}
	if had, err := k.Forget(t.Context(), "", nil); !had || err != nil {
		t.Errorf("forget all = %v, %v", had, err)
	}
	if got := calls(); got != "disable --now ulvs-realserver.service; daemon-reload" {
		t.Errorf("systemctl was called: %s", got)
	}
	for _, path := range []string{k.Config, filepath.Join(k.UnitDir, UnitName)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if had, err := k.Forget(t.Context(), "", nil); had || err != nil {
		t.Errorf("forget again = %v, %v", had, err)
	}
}

func TestAPackagedUnitIsUsedAsItIs(t *testing.T) {
	k, _ := newKeeper(t)
	if err := os.MkdirAll(k.Packaged, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(k.Packaged, UnitName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := k.Keep(t.Context(), Config{Method: "dr", VIPs: addrs("192.168.1.8")}, "/opt/ulvs"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(k.UnitDir, UnitName)); err == nil {
		t.Error("a second unit was written")
	}
}

func TestWithoutSystemdItIsKeptAndSaidSo(t *testing.T) {
	k, calls := newKeeper(t)
	k.Systemd = filepath.Join(k.Systemd, "nowhere")
	err := k.Keep(t.Context(), Config{Method: "dr", VIPs: addrs("192.168.1.8")}, "/opt/ulvs")
	if !errors.Is(err, ErrNoSystemd) || calls() != "" {
		t.Errorf("keep = %v", err)
	}
	if list, err := k.Configs(); len(list) != 1 || err != nil {
		t.Errorf("kept %+v, %v", list, err)
	}
	if _, err := k.Forget(t.Context(), "", nil); err != nil || calls() != "" {
		t.Errorf("forget = %v", err)
	}
}
