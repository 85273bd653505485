package differential

// fault makes a model wrong on purpose: what a run is to notice. The zero fault changes nothing.
type fault struct {
	name    string
	spoil   func(m *model)                       // before the first step
	set     func(m *model)                       // before every step
	picks   func(s *service, d *dest) *dest      // instead of the scheduler's choice
	sends   func(s *session, p *ip)              // changes a client's packet that leaves
	state   func(dir int, was, is string) string // instead of the machine's next state
	edited  func(d *dest)                        // after -a and -e
	starts  func(s *session)                     // a new session
	renewed func(t *template)                    // a template that lives on
}

func (f *fault) pick(s *service, d *dest) *dest {
	if f.picks == nil {
		return d
	}
	return f.picks(s, d)
}

func (f *fault) sent(s *session, p *ip) *ip {
	if f.sends != nil {
		f.sends(s, p)
	}
	return p
}

func (f *fault) next(dir int, was, is string) string {
	if f.state == nil {
		return is
	}
	return f.state(dir, was, is)
}

func (f *fault) edit(d *dest) {
	if f.edited != nil {
		f.edited(d)
	}
}

func (f *fault) start(s *session) {
	if f.starts != nil {
		f.starts(s)
	}
}

func (f *fault) renew(t *template) {
	if f.renewed != nil {
		f.renewed(t)
	}
}
