package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"ulvs/config"
)

// machine tells package config about this machine; offline, nothing but its name.
func machine(offline bool) config.Options {
	host, err := os.Hostname()
	if err != nil || strings.ContainsAny(host, " \t\r\n") {
		host = "" // config has a default
	}
	if offline {
		return config.Options{Hostname: host}
	}
	return config.Options{Hostname: host, CPUs: runtime.NumCPU(), Interfaces: haveInterface}
}

func haveInterface(name string) error {
	if _, err := net.InterfaceByName(name); err == nil {
		return nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("no interface %q on this machine: %w", name, err)
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return fmt.Errorf("no interface %q on this machine; it has %s", name, strings.Join(names, ", "))
}

// version is what go build stamps from the repository: a tag, or a commit with its date.
func version() string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// linked is the version that make puts in (-X main.linked).
var linked string
