package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Assets are what guests boot from, made once in a folder.
type Assets struct {
	Kernel  string // vmlinux, an ELF file: three seconds faster to boot than vmlinuz
	Version string // as uname -r
	Root    string // unpacked package: Root/lib/modules/Version
}

// cacheDir is where the kernel stays between runs.
func cacheDir() string {
	if dir := os.Getenv("ULVS_CACHE"); dir != "" {
		return filepath.Join(dir, "qemu")
	}
	return "/var/cache/ulvs-test/qemu"
}

// prepare fetches Debian's kernel with apt-get, unless it is there, and unpacks it.
func prepare() (*Assets, error) {
	dir := cacheDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	name, err := kernelPackage()
	if err != nil {
		return nil, err
	}
	a := &Assets{Version: strings.TrimPrefix(name, "linux-image-"), Root: filepath.Join(dir, name)}
	a.Kernel = filepath.Join(a.Root, "vmlinux")
	if _, err := os.Stat(a.Kernel); err == nil {
		return a, nil
	}
	if err := a.unpack(dir, name); err != nil {
		return nil, errors.Join(err, os.RemoveAll(a.Root))
	}
	return a, nil
}

// kernelPackage is what Debian's linux-image-amd64 depends on.
func kernelPackage() (string, error) {
	out, err := exec.Command("apt-cache", "depends", "linux-image-amd64").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt-cache for the kernel's name: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok {
			return name, nil
		}
	}
	return "", errors.New("apt-cache knows no linux-image-amd64: apt-get update")
}

func (a *Assets) unpack(dir, name string) error {
	download := exec.Command("apt-get", "download", name)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch %s: %w\n%s", name, err, out)
	}
	debs, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(debs) == 0 {
		return fmt.Errorf("fetch %s: no file came", name)
	}
	defer os.Remove(debs[0])
	if err := run("dpkg", "-x", debs[0], a.Root); err != nil {
		return err
	}
	if err := run("depmod", "-b", a.Root, a.Version); err != nil {
		return err
	}
	return a.extract(filepath.Join(a.Root, "boot", "vmlinuz-"+a.Version))
}

// extract takes vmlinux out of vmlinuz: what xz compressed begins at its magic.
func (a *Assets) extract(vmlinuz string) error {
	b, err := os.ReadFile(vmlinuz)
	if err != nil {
		return fmt.Errorf("read the kernel: %w", err)
	}
	at := bytes.Index(b, []byte("\xfd7zXZ\x00"))
	if at < 0 {
		return fmt.Errorf("%s is not compressed by xz", vmlinuz)
	}
	out, err := os.Create(a.Kernel)
	if err != nil {
		return fmt.Errorf("make vmlinux: %w", err)
	}
	defer out.Close()
	// What follows the compressed kernel is no xz: the complaint about it comes after all was written.
	xz := exec.Command("xz", "-dc", "--single-stream", "--ignore-check")
	xz.Stdin, xz.Stdout = bytes.NewReader(b[at:]), out
	_ = xz.Run()
	if s, err := out.Stat(); err != nil || s.Size() < 20<<20 {
		return fmt.Errorf("xz made no kernel of %s: %w", vmlinuz, err)
	}
	return nil
}

// modules returns the files that names and what they need are in, in loading order, below Root.
func (a *Assets) modules(names []string) (files []string, err error) {
	seen := map[string]bool{}
	for _, name := range names {
		out, err := exec.Command("modprobe", "-d", a.Root, "-S", a.Version, "--show-depends", name).Output()
		if err != nil {
			return nil, fmt.Errorf("what does module %s need: %w", name, err)
		}
		for line := range strings.Lines(string(out)) {
			file, ok := strings.CutPrefix(strings.TrimSpace(line), "insmod ")
			file, _, _ = strings.Cut(file, " ") // this machine's settings of the module may follow
			if ok && !seen[file] {
				seen[file] = true
				files = append(files, file)
			}
		}
	}
	return files, nil
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
