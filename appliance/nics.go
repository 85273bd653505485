package appliance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// NIC is an interface with hardware behind it.
type NIC struct {
	Name, MAC, Driver string
	Link              bool // a cable, with somebody at its other end; unknown before it is up
}

// NICs reads the interfaces of the machine whose root is given, by name.
func NICs(root string) (list []NIC) {
	devices, _ := filepath.Glob(filepath.Join(root, "sys/class/net/*/device"))
	for _, device := range devices {
		folder := filepath.Dir(device)
		nic := NIC{Name: filepath.Base(folder), MAC: read(folder, "address"), Link: read(folder, "carrier") == "1"}
		if driver, err := os.Readlink(filepath.Join(device, "driver")); err == nil {
			nic.Driver = filepath.Base(driver)
		}
		list = append(list, nic)
	}
	return list
}

// read returns a line of a file of sysfs, empty when there is none.
func read(folder, name string) string {
	text, _ := os.ReadFile(filepath.Join(folder, name))
	return strings.TrimSpace(string(text))
}

var mac = regexp.MustCompile(`^([0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}$`)

// isMAC is true for a MAC address with dashes, which stands for an interface's name.
func isMAC(name string) bool { return mac.MatchString(name) }

func nicNames(nics []NIC) string {
	if len(nics) == 0 {
		return "none"
	}
	names := make([]string, len(nics))
	for i, n := range nics {
		names[i] = n.Name
	}
	return strings.Join(names, ", ")
}
