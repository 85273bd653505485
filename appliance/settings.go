package appliance

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// Limits of what may be asked for.
const (
	MaxConfig = 1 << 20 // bytes of a configuration that came in a word or from a URL
	maxList   = 256     // addresses, services, real servers of one
	maxKey    = 8 << 10 // bytes of a public key
)

// Settings is what the machine is to be.
type Settings struct {
	Hostname     string
	Addresses    []Address
	Gateways     []netip.Addr
	DNS          []netip.Addr
	Interfaces   []string // that carry VIP traffic; none: those of Addresses
	Services     []Service
	Config       []byte // a whole ulvs.toml instead of Interfaces and Services
	ConfigURL    string // where to fetch one at every start
	PasswordHash string // of root, as crypt(5) has it; empty: no login by password
	Password     string // of root, from the console only
	SSHKeys      []string
	NeverAsk     bool
}

// Address is one of an interface: Prefix, or what DHCP says.
type Address struct {
	NIC    string // its name, or its MAC address with dashes
	Prefix netip.Prefix
	DHCP   bool
}

// Service is a VIP in one line: what a first configuration has. More of it is ulvs.toml's to say.
type Service struct {
	VIP       netip.AddrPort
	Protocol  string // tcp or udp or sctp
	Method    string // dr, nat or tun
	Scheduler string // empty: config's default
	Servers   []string
}

// keys are the words, each with what it sets.
var keys = map[string]func(s *Settings, value string) error{
	"hostname":      (*Settings).setHostname,
	"address":       (*Settings).addAddress,
	"gateway":       func(s *Settings, v string) error { return addAddr(&s.Gateways, v) },
	"dns":           func(s *Settings, v string) error { return addAddr(&s.DNS, v) },
	"interfaces":    (*Settings).setInterfaces,
	"vip":           (*Settings).addService,
	"config":        (*Settings).setConfig,
	"password-hash": (*Settings).setHash,
	"ssh-key":       (*Settings).addKey,
	"ask":           (*Settings).setAsk,
}

// Parse reads words as Words and FileWords return them. The error names every word that is wrong.
func Parse(words []string) (Settings, error) {
	var s Settings
	var errs []error
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		set := keys[key]
		if set == nil {
			errs = append(errs, fmt.Errorf("%s%.40s: no such word; there are hostname, address, gateway, dns, interfaces, "+
				"vip, config, password-hash, ssh-key, ask", Prefix, key))
			continue
		}
		if err := set(&s, value); err != nil {
			errs = append(errs, fmt.Errorf("%s%s=%.60s: %w", Prefix, key, value, err))
		}
	}
	if (s.Config != nil || s.ConfigURL != "") && len(s.Services) > 0 {
		errs = append(errs, fmt.Errorf("%sconfig and %svip: one or the other", Prefix, Prefix))
	}
	return s, errors.Join(errs...)
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func (s *Settings) setHostname(v string) error {
	for label := range strings.SplitSeq(v, ".") {
		if !hostname.MatchString(label) || len(v) > 64 {
			return errors.New("want letters, digits and dashes, such as lvs1")
		}
	}
	s.Hostname = v
	return nil
}

var nicName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,16}$`)

func checkNIC(name string) error {
	if !nicName.MatchString(name) || len(name) > 15 && !isMAC(name) {
		return fmt.Errorf("%.20q: want an interface such as eth0, or a MAC address such as 52-54-00-00-00-01", name)
	}
	return nil
}

func (s *Settings) addAddress(v string) error {
	nic, text, ok := strings.Cut(v, ":")
	if !ok {
		return errors.New("want INTERFACE:ADDRESS/LENGTH, such as eth0:192.168.1.2/24, or eth0:dhcp")
	}
	if err := checkNIC(nic); err != nil {
		return err
	}
	a := Address{NIC: nic, DHCP: text == "dhcp"}
	if !a.DHCP {
		var err error
		if a.Prefix, err = netip.ParsePrefix(text); err != nil || !isHost(a.Prefix.Addr()) {
			return fmt.Errorf("%.50q: want an address with its network's length, such as 192.168.1.2/24, or dhcp", text)
		}
	}
	s.Addresses = append(s.Addresses, a)
	return bounded(len(s.Addresses))
}

// isHost is true for what an interface may have or packets be sent to: no zone, no IPv4 in IPv6.
func isHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == "" && !a.Is4In6()
}

func bounded(n int) error {
	if n > maxList {
		return fmt.Errorf("more than %d", maxList)
	}
	return nil
}

func addAddr(list *[]netip.Addr, v string) error {
	var more []netip.Addr
	for text := range strings.SplitSeq(v, ",") {
		a, err := netip.ParseAddr(text)
		if err != nil || !isHost(a) {
			return fmt.Errorf("%.50q: want an address such as 192.168.1.1", text)
		}
		more = append(more, a)
	}
	*list = append(*list, more...)
	return bounded(len(*list))
}

func (s *Settings) setInterfaces(v string) error {
	s.Interfaces = nil
	for name := range strings.SplitSeq(v, ",") {
		if err := checkNIC(name); err != nil {
			return err
		}
		s.Interfaces = append(s.Interfaces, name)
	}
	return bounded(len(s.Interfaces))
}

// word is the name of a scheduler or a protocol.
var word = regexp.MustCompile(`^[a-z][a-z0-9-]{0,15}$`)

// addService reads VIP:PORT[/PROTOCOL],METHOD[,SCHEDULER],SERVER[:PORT],...
func (s *Settings) addService(v string) error {
	const want = "want VIP:PORT[/udp],METHOD[,SCHEDULER],REALSERVER..., such as 192.168.1.8:80,dr,rr,192.168.1.16"
	parts := strings.Split(v, ",")
	var service Service
	err := service.setVIP(parts[0])
	for _, part := range parts[1:] {
		switch {
		case service.setMethod(part) == nil || word.MatchString(part) && service.setScheduler(part) == nil:
		default:
			err = errors.Join(err, service.addServer(part))
		}
	}
	if err != nil || service.Method == "" || len(service.Servers) == 0 {
		return errors.Join(err, errors.New(want))
	}
	s.Services = append(s.Services, service)
	return errors.Join(bounded(len(s.Services)), bounded(len(service.Servers)))
}

// setVIP reads ADDRESS:PORT, of TCP, or ADDRESS:PORT/PROTOCOL.
func (s *Service) setVIP(text string) error {
	vip, protocol, found := strings.Cut(text, "/")
	if s.Protocol = protocol; !found {
		s.Protocol = "tcp"
	}
	at, err := netip.ParseAddrPort(vip)
	if err != nil || !isHost(at.Addr()) || !word.MatchString(s.Protocol) {
		return fmt.Errorf("%.50q: want an address and a port, such as 192.168.1.8:80 or 192.168.1.8:53/udp", text)
	}
	s.VIP = at
	return nil
}

func (s *Service) setMethod(text string) error {
	if text != "dr" && text != "nat" && text != "tun" {
		return fmt.Errorf("%.20q: want dr, nat or tun", text)
	}
	s.Method = text
	return nil
}

// setScheduler takes a word; whether there is such a scheduler is for config to say.
func (s *Service) setScheduler(text string) error {
	if !word.MatchString(text) {
		return fmt.Errorf("%.20q: want a scheduler, such as wlc", text)
	}
	s.Scheduler = text
	return nil
}

func (s *Service) addServer(text string) error {
	server, err := realServer(text)
	if err == nil {
		s.Servers = append(s.Servers, server)
	}
	return err
}

// realServer returns an address, with a port or without, as config reads it.
func realServer(text string) (string, error) {
	if at, err := netip.ParseAddrPort(text); err == nil && isHost(at.Addr()) {
		return at.String(), nil
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && isHost(a) {
		return a.String(), nil
	}
	return "", fmt.Errorf("%.50q is no real server: want an address, or one with a port", text)
}

func (s *Settings) setConfig(v string) error {
	s.Config, s.ConfigURL = nil, ""
	if text, ok := strings.CutPrefix(v, "base64:"); ok {
		var err error
		s.Config, err = unpack(text)
		return err
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsAny(v, "\"'\\\n") {
		return errors.New("want base64:TEXT (of ulvs.toml, or of it by gzip), or a URL of http or https")
	}
	s.ConfigURL = v
	return nil
}

// unpack reads base64, of gzip or not.
func unpack(text string) ([]byte, error) {
	if len(text) > 2*MaxConfig {
		return nil, fmt.Errorf("more than %d bytes", MaxConfig)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("no base64: %w; make it with: gzip -9 <ulvs.toml | base64 -w0", err)
	}
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(r, MaxConfig+1))
	}
	if err == nil && len(b) > MaxConfig {
		err = fmt.Errorf("more than %d bytes", MaxConfig)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack it: %w", err)
	}
	return b, nil
}

var hash = regexp.MustCompile(`^\$[0-9a-z]{1,10}\$[A-Za-z0-9./$=,-]{10,200}$`)

func (s *Settings) setHash(v string) error {
	if !hash.MatchString(v) {
		return errors.New("want what mkpasswd or openssl passwd -6 prints, such as $6$...; a password itself is not taken")
	}
	s.PasswordHash = v
	return nil
}

var publicKey = regexp.MustCompile(`^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [ -~]*)?$`)

func (s *Settings) addKey(v string) error {
	if !publicKey.MatchString(v) || len(v) > maxKey {
		return errors.New(`want a public key: "ulvs.ssh-key=ssh-ed25519 AAAA... name", with the quotes`)
	}
	s.SSHKeys = append(s.SSHKeys, v)
	return bounded(len(s.SSHKeys))
}

func (s *Settings) setAsk(v string) error {
	if v != "no" && v != "yes" {
		return errors.New("want yes or no")
	}
	s.NeverAsk = v == "no"
	return nil
}
