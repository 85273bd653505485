package director

import (
	"encoding/json"
	"slices"
	"strings"

	"ulvs/ha"
)

// Topics of what directors tell each other about takeovers.
const (
	topicClaim    = "claim/" // broadcast, one per unit
	topicQuery    = "query"
	topicAnswer   = "answer"
	topicVoteAsk  = "vote_ask/" // broadcast, one per unit
	topicVote     = "vote"
	topicHandover = "handover"
)

// word is what is said about a unit.
type word struct {
	Unit  string   `json:"unit"`
	Claim ha.Claim `json:"claim"`
	Up    bool     `json:"up"`
}

// speak does what of the machine's actions is for other directors; false if it is for somebody else.
func (t *takeover) speak(a *ha.Action) bool {
	r := t.d.replication
	if r == nil || r.node == nil {
		return false
	}
	if a.Kind == ha.ActionVoteAsk && t.forgotten[t.unitOf(a.Claim.Unit)] {
		return true // its term is not kept
	}
	w := word{Claim: a.Claim, Up: a.Up && !(a.Kind == ha.ActionVote && t.forgotten[a.Unit]), Unit: a.Claim.Unit}
	if a.Kind != ha.ActionClaim && a.Kind != ha.ActionVoteAsk {
		w.Unit = t.units[a.Unit].Name
	}
	body, err := json.Marshal(w)
	if err != nil {
		return false
	}
	switch a.Kind {
	case ha.ActionClaim:
		r.node.Broadcast(topicClaim+w.Unit, body)
	case ha.ActionVoteAsk:
		r.node.Broadcast(topicVoteAsk+w.Unit, body)
	case ha.ActionQuery:
		r.node.Tell(a.Name, topicQuery, body)
	case ha.ActionAnswer:
		r.node.Tell(a.Name, topicAnswer, body)
	case ha.ActionVote:
		r.node.Tell(a.Name, topicVote, body)
	case ha.ActionHandoverAsk:
		r.node.Tell(a.Name, topicHandover, body)
	case ha.ActionFlush:
		unit, to := a.Unit, a.Name
		go func() {
			if err := r.drain(to); err != nil {
				t.d.log.Warn("handing over without the last sessions", "err", err)
			}
			t.tell(ha.Event{Kind: ha.EventFlushed, Unit: unit})
		}()
	default:
		return false
	}
	return true
}

// unitOf returns a unit's number by its name, -1 if there is none.
func (t *takeover) unitOf(name string) int {
	return slices.IndexFunc(t.units, func(u ha.Unit) bool { return u.Name == name })
}

// topicEvents are what topics are to the machine.
var topicEvents = map[string]ha.EventKind{
	topicClaim: ha.EventClaim, topicQuery: ha.EventQuery, topicAnswer: ha.EventAnswer, topicVoteAsk: ha.EventVoteAsk,
	topicVote: ha.EventVote, topicHandover: ha.EventHandover,
}

// heard takes what another director says. It runs on memberlist's goroutines and must not wait.
func (r *replication) heard(from, topic string, body []byte) {
	if topic == topicState {
		r.states.hear(from, body)
		return
	}
	t := r.d.takeover.Load()
	if t == nil || !t.started.Load() {
		return
	}
	if i := strings.IndexByte(topic, '/'); i >= 0 {
		topic = topic[:i+1]
	}
	kind, known := topicEvents[topic]
	var w word
	if !known || json.Unmarshal(body, &w) != nil {
		return
	}
	if i := t.unitOf(w.Unit); i >= 0 {
		r.later(ha.Event{Kind: kind, Unit: i, Claim: w.Claim, Up: w.Up, Name: from})
	}
}

// later gives the machine an event without waiting; what finds no room is said again by who said it.
func (r *replication) later(ev ha.Event) {
	t := r.d.takeover.Load()
	if t == nil {
		return
	}
	select {
	case t.events <- ev:
	default:
	}
}

func (r *replication) tellMembers(gone string) {
	if gone != "" {
		r.later(ha.Event{Kind: ha.EventPeerGone, Name: gone})
	}
	r.later(ha.Event{Kind: ha.EventMembers, Members: int(r.members.Load()) + 1})
}

func (r *replication) tellReady(ready bool) { r.later(ha.Event{Kind: ha.EventReady, Up: ready}) }

// directors is how many there are, this one included.
func (d *director) directors() int {
	if d.replication == nil {
		return 1
	}
	return len(*d.replication.peers.Load()) + 1
}
