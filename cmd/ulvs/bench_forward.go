package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"ulvs/bench/frames"
	"ulvs/bench/measure"
	"ulvs/bench/wire"
)

// ends are the flags that name two interfaces of this host.
type ends struct {
	generate, sink, to, mac, from string
	real                          []string
}

func (a *app) benchForward() *cobra.Command {
	f, e := &benchFlags{}, &ends{}
	cmd := &cobra.Command{
		Use: "forward", Short: "Frames through real interfaces: the highest rate without loss, CPU time of each",
		Long: "forward sends UDP frames through a director, without pause, and counts them on the other side; both ends\n" +
			"use AF_XDP. Without flags it builds a lab of network namespaces for that and takes it down again. With two\n" +
			"interfaces of this host it drives a director that is cabled between them; the sink takes nothing from its\n" +
			"interface but what was sent. It needs root: sudo ulvs bench forward.",
		Example: "  sudo ulvs bench forward                 in a lab of its own\n" +
			"  sudo ulvs bench forward --generate eth1 --sink eth2 --to 192.168.1.8:7 --mac 02:00:00:00:00:01\n" +
			"        --mac is the director's on the generator's side; add --real ADDRESS for NAT and TUN",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := frames.Short()
			if f.full {
				p = frames.Full()
			}
			if f.sample > 0 {
				p.Sample = f.sample
			}
			given, err := e.given()
			if err != nil {
				return misuse{err}
			}
			p.Given = given
			return a.benchRun(cmd, f, "forward", p.Cases(), func(ctx context.Context, run *measure.Run) error {
				return frames.Measure(ctx, run, p)
			})
		},
	}
	f.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&e.generate, "generate", "", "the `interface` that sends; with --sink, --to and --mac")
	fs.StringVar(&e.sink, "sink", "", "the `interface` that counts")
	fs.StringVar(&e.to, "to", "", "`VIP:PORT` of a UDP service")
	fs.StringVar(&e.mac, "mac", "", "of the director's interface that the frames go to")
	fs.StringVar(&e.from, "from", "198.18.128.1", "the first client's address")
	fs.StringSliceVar(&e.real, "real", nil, "the real servers' addresses, where the director rewrites or tunnels")
	return cmd
}

// given returns nil if no interface was.
func (e *ends) given() (*frames.Given, error) {
	if e.generate == "" && e.sink == "" {
		return nil, nil
	}
	if e.generate == "" || e.sink == "" || e.to == "" || e.mac == "" {
		return nil, errors.New("want all of --generate, --sink, --to and --mac, or none for a lab")
	}
	o, err := generator(e.generate, e.to, e.mac, e.from)
	if err != nil {
		return nil, err
	}
	s := wire.SinkOptions{Interface: e.sink, Port: o.To.Port(), Addrs: []netip.Addr{o.To.Addr()}}
	for _, text := range e.real {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("real: %w", err)
		}
		s.Addrs = append(s.Addrs, a)
	}
	return &frames.Given{Generate: o, Sink: s}, nil
}

// generator reads what a generator is told.
func generator(name, to, mac, from string) (o wire.Options, err error) {
	o.Interface = name
	if o.To, err = netip.ParseAddrPort(to); err != nil {
		return o, fmt.Errorf("to: %w", err)
	}
	if o.From, err = netip.ParseAddr(from); err != nil {
		return o, fmt.Errorf("from: %w", err)
	}
	o.MAC, err = net.ParseMAC(mac)
	return o, err
}

func (a *app) loadGenerate() *cobra.Command {
	var o wire.Options
	cmd := &cobra.Command{Use: "generate", Short: "Send frames from an interface", Args: cobra.NoArgs}
	f := cmd.Flags()
	name, to := f.String("interface", "", "that sends"), f.String("to", "", "VIP:PORT")
	mac, from := f.String("mac", "", "of the director"), f.String("from", "", "the first client's address")
	flows, size := f.Int("flows", 64, "clients' ports"), f.Int("size", 60, "bytes of a frame")
	rate, d := f.Int("rate", 0, "frames per second; 0: as many as can be"), f.Duration("time", time.Second, "how long")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o, err = generator(*name, *to, *mac, *from); err != nil {
			return misuse{err}
		}
		o.Flows, o.Size, o.Rate, o.Duration = *flows, *size, *rate, *d
		r, err := wire.Generate(cmd.Context(), o)
		if err != nil {
			return err
		}
		return printJSON(a.out, r)
	}
	return cmd
}

func (a *app) loadSink() *cobra.Command {
	var o wire.SinkOptions
	cmd := &cobra.Command{Use: "sink", Short: "Count frames until standard input ends", Args: cobra.NoArgs}
	f := cmd.Flags()
	f.StringVar(&o.Interface, "interface", "", "that receives")
	f.Uint16Var(&o.Port, "port", 7, "UDP")
	addrs := f.StringSlice("address", nil, "to count packets to, and tunnels")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, text := range *addrs {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return misuse{err}
			}
			o.Addrs = append(o.Addrs, addr)
		}
		ctx, cancel := untilEnd(cmd)
		defer cancel()
		c, err := wire.Sink(ctx, o, func() { fmt.Fprintln(a.out, "ready") })
		if err != nil {
			return err
		}
		return printJSON(a.out, c)
	}
	return cmd
}
