package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ulvs/config"
	"ulvs/internal/wholefile"
)

// Where the files are, below the machine's root.
const (
	ConfigFile  = "etc/ulvs/ulvs.toml"
	AppliedFile = "var/lib/ulvs-appliance/applied" // what the machine was configured by
	URLFile     = "var/lib/ulvs-appliance/url"     // where ulvs.toml is fetched from
)

const header = "# Written at the first start, by ulvs firstboot. Change it as you like: it is written again\n" +
	"# only when the ulvs.* words that the machine is started with change.\n"

// File is one that Settings come to.
type File struct {
	Name string // below the machine's root
	Text string
	Mode fs.FileMode
}

// Files returns what Settings come to on a machine with these NICs. A configuration is judged with opt, and its error
// is config's.
func (s *Settings) Files(nics []NIC, opt config.Options) ([]File, error) {
	r, err := s.resolve(nics)
	if err != nil {
		return nil, err
	}
	files := append(r.network(), r.identity()...)
	text := string(r.Config)
	if len(r.Services) > 0 {
		if text, err = r.toml(); err != nil {
			return nil, err
		}
	}
	if text != "" {
		if _, err := config.Parse("ulvs.toml", []byte(text), opt); err != nil {
			return nil, fmt.Errorf("the configuration: %w", err)
		}
		files = append(files, File{ConfigFile, text, 0o640})
	}
	return files, nil
}

// resolve returns the settings with every MAC address made a name, and with every interface there.
func (s Settings) resolve(nics []NIC) (Settings, error) {
	var errs []error
	name := func(n string) string {
		for _, nic := range nics {
			if nic.Name == n || isMAC(n) && strings.EqualFold(strings.ReplaceAll(n, "-", ":"), nic.MAC) {
				return nic.Name
			}
		}
		errs = append(errs, fmt.Errorf("no interface %s on this machine; it has %s", n, nicNames(nics)))
		return n
	}
	s.Addresses, s.Interfaces = slices.Clone(s.Addresses), slices.Clone(s.Interfaces)
	for i := range s.Addresses {
		s.Addresses[i].NIC = name(s.Addresses[i].NIC)
	}
	for i := range s.Interfaces {
		s.Interfaces[i] = name(s.Interfaces[i])
	}
	return s, errors.Join(errs...)
}

// carriers returns the interfaces of VIP traffic.
func (s *Settings) carriers() (names []string) {
	if len(s.Interfaces) > 0 {
		return s.Interfaces
	}
	return s.withAddresses(nil)
}

// withAddresses returns names and those of the interfaces that have addresses, each once.
func (s *Settings) withAddresses(names []string) []string {
	for _, a := range s.Addresses {
		if !slices.Contains(names, a.NIC) {
			names = append(names, a.NIC)
		}
	}
	return names
}

// network returns a file for each interface, for systemd-networkd, and who answers questions about names.
func (s *Settings) network() (files []File) {
	for _, name := range s.withAddresses(s.carriers()) {
		files = append(files, File{"etc/systemd/network/10-ulvs-" + name + ".network", s.interfaceFile(name), 0o644})
	}
	if len(s.DNS) > 0 {
		var b strings.Builder
		for _, a := range s.DNS {
			fmt.Fprintf(&b, "nameserver %s\n", a)
		}
		files = append(files, File{"etc/resolv.conf", b.String(), 0o644})
	}
	return files
}

// interfaceFile is one interface's. A gateway is on the interface whose network has it.
func (s *Settings) interfaceFile(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s[Match]\nName=%s\n\n", header, name)
	own := false
	for _, a := range s.Addresses {
		own = own || a.NIC == name
	}
	if !own {
		b.WriteString("[Link]\nRequiredForOnline=no\n\n")
	}
	b.WriteString("[Network]\n")
	for _, a := range s.Addresses {
		switch {
		case a.NIC != name:
		case a.DHCP:
			b.WriteString("DHCP=yes\n")
		default:
			fmt.Fprintf(&b, "Address=%s\n", a.Prefix)
			for _, g := range s.Gateways {
				if a.Prefix.Contains(g) {
					fmt.Fprintf(&b, "Gateway=%s\n", g)
				}
			}
		}
	}
	return b.String()
}

// identity returns who the machine is, and who may log in by key.
func (s *Settings) identity() (files []File) {
	if s.Hostname != "" {
		short, _, _ := strings.Cut(s.Hostname, ".")
		hosts := fmt.Sprintf("127.0.0.1 localhost\n127.0.1.1 %s %s\n::1 localhost ip6-localhost\n", s.Hostname, short)
		files = append(files, File{"etc/hostname", s.Hostname + "\n", 0o644}, File{"etc/hosts", hosts, 0o644})
	}
	if len(s.SSHKeys) > 0 {
		files = append(files, File{"root/.ssh/authorized_keys", strings.Join(s.SSHKeys, "\n") + "\n", 0o600})
	}
	if s.ConfigURL != "" {
		files = append(files, File{URLFile, s.ConfigURL + "\n", 0o600})
	}
	return files
}

// toml writes the configuration of Services.
func (s *Settings) toml() (string, error) {
	names := s.carriers()
	if len(names) == 0 {
		return "", fmt.Errorf("a VIP needs an interface: %saddress=eth0:192.168.1.2/24, or %sinterfaces=eth0", Prefix, Prefix)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n[node]\ninterfaces = [\"%s\"]\n", header, strings.Join(names, `", "`))
	for _, v := range s.Services {
		fmt.Fprintf(&b, "\n[[service]]\nvip = %q\nprotocol = %q\nmethod = %q\n", v.VIP, v.Protocol, v.Method)
		if v.Scheduler != "" {
			fmt.Fprintf(&b, "scheduler = %q\n", v.Scheduler)
		}
		for _, server := range v.Servers {
			fmt.Fprintf(&b, "\n  [[service.real_server]]\n  address = %q\n", server)
		}
	}
	return b.String(), nil
}

// Write puts files below a root. A ulvs.toml that was another one stays beside it, as ulvs.toml.old.
func Write(root string, files []File) error {
	for _, f := range files {
		path := filepath.Join(root, f.Name)
		folder := fs.FileMode(0o755)
		if f.Mode&0o077 == 0 {
			folder = 0o700
		}
		if err := os.MkdirAll(filepath.Dir(path), folder); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if old, err := os.ReadFile(path); f.Name == ConfigFile && err == nil && string(old) != f.Text {
			if err := wholefile.Write(path+".old", old, f.Mode); err != nil {
				return fmt.Errorf("keep the old %s: %w", path, err)
			}
		}
		if err := wholefile.Write(path, []byte(f.Text), f.Mode); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}
