package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// need is a kind of packet that the host's packet filter has to let in.
type need struct {
	name  string
	words []string // any of them in a rule's match says that the rule is about it
}

// needs are what the configuration makes others send to this host's kernel. Packets for VIPs pass XDP before.
func (p *Patient) needs() (list []need) {
	if p.Config == nil {
		return nil
	}
	if len(p.Config.Takeover.Instances) > 0 {
		list = append(list, need{"VRRP adverts (protocol 112)", []string{"112", `"vrrp"`}})
	}
	if p.Config.Sync.On() {
		list = append(list, need{fmt.Sprintf("session sync (port %d)", p.Config.Sync.Port),
			[]string{fmt.Sprint(p.Config.Sync.Port)}})
	}
	return list
}

// nftRules is what nft -j list ruleset prints (libnftables-json(5)), as far as it is read here.
type nftRules struct {
	Objects []struct {
		Chain *nftChain `json:"chain"`
		Rule  *nftRule  `json:"rule"`
	} `json:"nftables"`
}

type nftChain struct {
	Family, Table, Name, Hook, Policy string
}

type nftRule struct {
	Family, Table, Chain string
	Expr                 []map[string]json.RawMessage
}

// firewall looks for base chains that keep out what has to come in.
func firewall(ctx context.Context, p *Patient) (found []Finding, err error) {
	needs := p.needs()
	if p.Rules == nil || len(needs) == 0 {
		return nil, nil
	}
	text, err := p.Rules(ctx)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	rules, err := parseRules(text)
	if err != nil {
		return nil, err
	}
	for _, n := range needs {
		if why := rules.keepsOut(n); why != "" {
			found = append(found, find(codeFirewall, n.name, "%s", why))
		}
	}
	return found, nil
}

func parseRules(text []byte) (*nftRules, error) {
	var rules nftRules
	if err := json.Unmarshal(text, &rules); err != nil {
		return nil, errors.New("the packet filter's rules are not what nft -j prints")
	}
	return &rules, nil
}

// keepsOut says which chain drops a need, by a rule about it or for want of one that lets it in; empty if none.
func (r *nftRules) keepsOut(n need) string {
	for _, o := range r.Objects {
		c := o.Chain
		if c == nil || c.Family == "arp" || c.Hook != "input" && c.Hook != "prerouting" {
			continue
		}
		where := fmt.Sprintf("chain %s %s %s", c.Family, c.Table, c.Name)
		switch verdict := r.verdict(c, n); {
		case verdict == "drop":
			return where + " has a rule that drops it"
		case verdict == "" && c.Policy == "drop" && c.Family != "ip6":
			return where + " drops what no rule lets in, and none lets it in"
		}
	}
	return ""
}

// verdict is that of the first rule in a chain that is about a need, or about everything.
func (r *nftRules) verdict(c *nftChain, n need) string {
	for _, o := range r.Objects {
		rule := o.Rule
		if rule == nil || rule.Family != c.Family || rule.Table != c.Table || rule.Chain != c.Name {
			continue
		}
		if v := rule.verdict(); v != "" && rule.isAbout(n) {
			return v
		}
	}
	return ""
}

// verdict is accept, drop (reject, too), or empty for what decides nothing itself. What another chain decides is not
// followed: a jump counts as letting in, so that no alarm is false.
func (r *nftRule) verdict() string {
	for _, e := range r.Expr {
		for key := range e {
			switch key {
			case "accept", "jump", "goto", "queue", "vmap":
				return "accept"
			case "drop", "reject":
				return "drop"
			}
		}
	}
	return ""
}

// isAbout reports whether a rule matches the need: by its protocol or port, or by nothing that narrows it down but
// interfaces and addresses, which may be the peers'. Dropping by address or interface is about others.
func (r *nftRule) isAbout(n need) bool {
	var matches []string
	for _, e := range r.Expr {
		for _, key := range []string{"match", "vmap"} {
			if m, has := e[key]; has {
				matches = append(matches, string(m))
			}
		}
	}
	if len(matches) == 0 {
		return true
	}
	all := strings.Join(matches, " ")
	if slices.ContainsFunc(n.words, func(w string) bool { return hasWord(all, w) }) {
		return true
	}
	narrow := slices.ContainsFunc(narrowing, func(w string) bool { return strings.Contains(all, w) })
	return !narrow && r.verdict() == "accept"
}

// narrowing are the words of matches that leave most packets out.
var narrowing = []string{`"dport"`, `"sport"`, `"protocol"`, `"l4proto"`, `"ct"`, `"lo"`, `"type"`}

// hasWord finds a number or a quoted word that is not a part of a longer one.
func hasWord(text, word string) bool {
	for rest := text; ; {
		i := strings.Index(rest, word)
		if i < 0 {
			return false
		}
		before, after := i > 0 && isDigit(rest[i-1]), i+len(word) < len(rest) && isDigit(rest[i+len(word)])
		if !before && !after {
			return true
		}
		rest = rest[i+len(word):]
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
