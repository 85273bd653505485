package appliance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrSkipped is returned when whoever was asked said skip, or hung up: nothing is to be changed.
var ErrSkipped = errors.New("skipped")

// maxAnswer bounds a line that is typed, in bytes.
const maxAnswer = 4096

// Dialog asks on a terminal.
type Dialog struct {
	in   *bufio.Reader
	out  io.Writer
	echo func(on bool) // the terminal's; nil: it has none
}

// NewDialog returns a dialog of what is typed and what is shown. echo turns the terminal's own echo off and on, for
// passwords; nil without a terminal.
func NewDialog(in io.Reader, out io.Writer, echo func(on bool)) *Dialog {
	return &Dialog{bufio.NewReaderSize(in, maxAnswer), out, echo}
}

// line returns the next answer. The word skip, the end and a line without an end all skip.
func (d *Dialog) line() (string, error) {
	b, err := d.in.ReadSlice('\n')
	text := strings.TrimSpace(string(b))
	if err != nil || text == "skip" {
		return "", ErrSkipped
	}
	return text, nil
}

// ask asks until take is content; an empty answer stands for preset.
func (d *Dialog) ask(question, preset string, take func(answer string) error) error {
	for {
		fmt.Fprintf(d.out, "  %s [%s]: ", question, preset)
		answer, err := d.line()
		if err != nil {
			return err
		}
		if answer == "" {
			answer = preset
		}
		if err = take(answer); err == nil {
			return nil
		}
		fmt.Fprintf(d.out, "    %v\n", err)
	}
}

// Ask asks for settings. check judges all of them at the end; what it complains about is shown, and all is asked again.
func (d *Dialog) Ask(nics []NIC, check func(*Settings) error) (Settings, error) {
	fmt.Fprintf(d.out, "\nEmpty answers take what is in brackets. skip leaves everything as it is.\n\n")
	d.showNICs(nics)
	for {
		var s Settings
		for _, part := range []func(*Settings, []NIC) error{d.askHost, d.askNetwork, d.askServices, d.askPassword} {
			if err := part(&s, nics); err != nil {
				return s, err
			}
		}
		err := check(&s)
		if err == nil {
			return s, d.confirm()
		}
		fmt.Fprintf(d.out, "\n%v\n\nOnce more, then.\n", err)
	}
}

func (d *Dialog) showNICs(nics []NIC) {
	fmt.Fprintf(d.out, "  %-16s %-18s %-12s %s\n", "Interface", "MAC", "Driver", "Cable")
	for _, n := range nics {
		cable := "-"
		if n.Link {
			cable = "plugged"
		}
		fmt.Fprintf(d.out, "  %-16s %-18s %-12s %s\n", n.Name, n.MAC, n.Driver, cable)
	}
	fmt.Fprintln(d.out)
}

func (d *Dialog) askHost(s *Settings, _ []NIC) error {
	return d.ask("Name of this machine", "ulvs", s.setHostname)
}

func (d *Dialog) askNetwork(s *Settings, nics []NIC) error {
	preset := strings.ReplaceAll(nicNames(nics), " ", "")
	err := d.ask("Interfaces of VIP traffic, by commas", preset, func(v string) error {
		if err := s.setInterfaces(v); err != nil {
			return err
		}
		_, err := s.resolve(nics)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range s.Interfaces {
		err := d.ask("Address of "+name+", such as 192.168.1.2/24, or dhcp", "none", optional(func(v string) error {
			return s.addAddress(name + ":" + v)
		}))
		if err != nil {
			return err
		}
	}
	return d.ask("Gateway", "none", optional(func(v string) error { return addAddr(&s.Gateways, v) }))
}

// optional takes none for an answer.
func optional(take func(string) error) func(string) error {
	return func(v string) error {
		if v == "none" {
			return nil
		}
		return take(v)
	}
}

// askServices asks for VIPs until there are no more.
func (d *Dialog) askServices(s *Settings, _ []NIC) error {
	for question := "VIP and port, such as 192.168.1.8:80 or 192.168.1.8:53/udp"; ; question = "Another VIP and port" {
		var v Service
		err := d.ask(question, "none", optional(v.setVIP))
		if err != nil || !v.VIP.IsValid() {
			return err
		}
		if err := d.askService(&v); err != nil {
			return err
		}
		s.Services = append(s.Services, v)
	}
}

func (d *Dialog) askService(v *Service) error {
	if err := d.ask("Method: dr, nat or tun", "dr", v.setMethod); err != nil {
		return err
	}
	if err := d.ask("Scheduler", "wlc", v.setScheduler); err != nil {
		return err
	}
	return d.ask("Real servers, by commas", "", func(text string) error {
		v.Servers = nil
		for server := range strings.SplitSeq(text, ",") {
			if err := v.addServer(strings.TrimSpace(server)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *Dialog) askPassword(s *Settings, _ []NIC) error {
	if d.echo != nil {
		d.echo(false)
		defer d.echo(true)
	}
	return d.ask("Password of root, not shown; none: nobody logs in here", "none", optional(func(v string) error {
		s.Password = v
		return nil
	}))
}

func (d *Dialog) confirm() error {
	return d.ask("\n  Write this, and start", "yes", func(v string) error {
		switch v {
		case "yes":
			return nil
		case "no":
			return errors.New("then say skip: it is asked again at the next start")
		}
		return errors.New("yes, or skip")
	})
}
