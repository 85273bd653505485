package site

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ulvs/control"
)

// Director is a ulvs that runs in the site.
type Director struct {
	*Process
	*control.Client
	site *Site
	name string
	base uint64 // what the kernel had forwarded before
}

// starts is how often a director is started that finds its queue still in use: the kernel gives one back some
// time after its last socket.
const starts = 4

// Direct starts ulvs in a director's namespace and returns when it forwards.
func (s *Site) Direct(ctx context.Context, name, config string) (d *Director, err error) {
	file, err := s.Write(name+".toml", config)
	if err != nil {
		return nil, err
	}
	for range starts {
		if d, err = s.direct(ctx, name, file); err == nil || !strings.Contains(err.Error(), "device or resource busy") {
			break
		}
	}
	return d, err
}

func (s *Site) direct(ctx context.Context, name, file string) (*Director, error) {
	before, err := s.KernelForwarded(name)
	if err != nil {
		return nil, err
	}
	d := &Director{site: s, name: name, Client: control.NewClient(s.ControlSocket(name)), base: before}
	if d.Process, err = s.Start(name, "", s.Binary, "run", file); err != nil {
		return nil, err
	}
	if err := d.await(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("ulvs in %s: %w: %s", name, err, d.Log()), d.Stop())
	}
	s.stops = append(s.stops, d.Stop)
	return d, nil
}

// await waits until every next hop of a real server is resolved.
func (d *Director) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		st, err := d.Status(ctx)
		if err == nil && st.Routing.NextHops > 0 && st.Routing.Unresolved == 0 {
			return nil
		}
		if !d.Alive() {
			return errors.New("it ended")
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("it does not forward"), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Carried returns the frames that ulvs sent by AF_XDP, and the packets that the kernel forwarded beside it.
func (d *Director) Carried(ctx context.Context) (ulvs, kernel uint64, err error) {
	st, err := d.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range st.Ports {
		ulvs += p.TXFrames
	}
	kernel, err = d.site.KernelForwarded(d.name)
	return ulvs, kernel - d.base, err
}
