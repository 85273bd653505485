package qemu

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// guestModules are what guests load: NICs, IPVS, and the checksum that it names nowhere.
var guestModules = []string{
	"virtio_pci", "virtio_net", "e1000e", "vmxnet3", "crc32c_generic", "libcrc32c", "ip_vs", "ip_vs_rr", "ip_vs_wlc",
	"ip_vs_sh", "ipip", "ip6_tunnel", "bonding",
}

// guestTools are copied from this machine to the guest's /sbin, with their libraries. Call ip by its path: busybox's
// shell prefers its own, which knows too little.
var guestTools = []string{"ip", "ethtool", "ipvsadm"}

// initramfs makes what a guest lives in: busybox, a few tools, modules, programs by their paths in the guest.
func (a *Assets) initramfs(dir string, programs map[string]string) (string, error) {
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc", "modules"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return "", fmt.Errorf("make the guest's folders: %w", err)
		}
	}
	if err := a.fill(root, programs); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "initramfs.gz")
	pack := exec.Command("sh", "-c", "find . | cpio -o -H newc --quiet | gzip -1 >\"$0\"", out)
	pack.Dir = root
	if b, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pack the guest's files: %w\n%s", err, b)
	}
	return out, nil
}

func (a *Assets) fill(root string, programs map[string]string) error {
	for at, from := range programs {
		if err := copyFile(from, filepath.Join(root, at), 0o755); err != nil {
			return err
		}
	}
	for _, tool := range guestTools {
		if err := copyTool(root, tool); err != nil {
			return err
		}
	}
	if err := copyFile("/bin/busybox", filepath.Join(root, "bin/busybox"), 0o755); err != nil {
		return err
	}
	out, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return fmt.Errorf("what can busybox do: %w", err)
	}
	for applet := range bytes.Lines(out) {
		_ = os.Symlink("busybox", filepath.Join(root, "bin", strings.TrimSpace(string(applet))))
	}
	return a.copyModules(root)
}

// copyModules puts the modules where the guest's first process looks, in loading order.
func (a *Assets) copyModules(root string) error {
	files, err := a.modules(guestModules)
	if err != nil {
		return err
	}
	for i, f := range files {
		to := filepath.Join(root, "modules", fmt.Sprintf("%03d-%s", i, filepath.Base(f)))
		if err := copyFile(f, to, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyTool copies a program of this machine to the guest's /sbin, and its libraries to where they are here.
func copyTool(root, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("the guest needs %s: %w", name, err)
	}
	if err := copyFile(path, filepath.Join(root, "sbin", name), 0o755); err != nil {
		return err
	}
	if f, err := elf.Open(path); err != nil || f.Section(".interp") == nil {
		return nil
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return fmt.Errorf("what does %s link to: %w", path, err)
	}
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		for _, word := range strings.Fields(sc.Text()) {
			if strings.HasPrefix(word, "/") {
				if err := copyFile(word, filepath.Join(root, word), 0o755); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func copyFile(from, to string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy into the guest: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy into the guest: %w", err)
	}
	if err := os.WriteFile(to, b, mode); err != nil {
		return fmt.Errorf("copy into the guest: %w", err)
	}
	return nil
}
