package director

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"ulvs/control"
)

// topicState is what a director tells the others of itself: which ulvs it is, and which real servers it holds for down.
const topicState = "state"

// downNamed bounds the real servers that are named: a broadcast has room for some 800 bytes.
const downNamed = 8

// toldState is what a director said of itself last.
type toldState struct {
	Version string   `json:"version"`
	Down    int      `json:"down"`  // real servers
	Names   []string `json:"names"` // of them, the first few
}

// stateBook knows what directors say of themselves.
type stateBook struct {
	mu      sync.Mutex
	peers   map[string]toldState
	said    string // of this one
	version uint64 // of the configuration that generation stands for
	config  uint64 // this one's generation; 0: not known yet
}

func (b *stateBook) hear(from string, body []byte) {
	var s toldState
	if json.Unmarshal(body, &s) != nil || s.Down < 0 || len(s.Names) > downNamed {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.peers == nil {
		b.peers = map[string]toldState{}
	}
	if _, known := b.peers[from]; known || len(b.peers) < 256 { // directors have authenticated themselves
		b.peers[from] = s
	}
}

func (b *stateBook) of(peer string) toldState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers[peer]
}

// tellState tells the others what changed of this director since the last time.
func (r *replication) tellState() {
	r.tellConfig()
	s := toldState{Version: r.d.opt.Version}
	for _, name := range r.d.downServers() {
		if s.Down++; len(s.Names) < downNamed {
			s.Names = append(s.Names, name)
		}
	}
	body, err := json.Marshal(s)
	if err != nil || string(body) == r.states.said {
		return
	}
	r.states.said = string(body)
	r.node.Broadcast(topicState, body)
}

// tellConfig tells the others which configuration runs here: a hash of it, whatever its file looks like.
func (r *replication) tellConfig() {
	version, running := r.d.configuration()
	if version == r.states.version {
		return
	}
	h := fnv.New64a()
	if err := json.NewEncoder(h).Encode(running); err != nil {
		return
	}
	generation := h.Sum64() | 1 // 0 stands for none
	r.states.mu.Lock()
	same := generation == r.states.config
	r.states.version, r.states.config = version, generation
	r.states.mu.Unlock()
	if !same { // most changes are of what is held here, or of conditions
		r.node.SetGeneration(generation)
	}
}

// runState tells the others of this director until it is stopped. What it calls waits for the network.
func (r *replication) runState() {
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for {
		r.tellState()
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
	}
}

// configuration returns what runs, and a number that is another one when that may be something else.
func (n *Node) configuration() (version uint64, services any) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.version, n.state()
}

// downServers are the real servers that checks hold for down, each once.
func (d *director) downServers() []string {
	down := map[string]bool{}
	for _, s := range d.Health() {
		for i := range s.RealServers {
			if r := &s.RealServers[i]; !r.Up {
				down[r.Address.String()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(down))
}

// notes says in words what an operator should know about a peer: another version, another configuration, real servers
// that are down for one of the two only.
func (r *replication) notes(peer string, generation uint64, down []string) (notes []string) {
	s := r.states.of(peer)
	if s.Version != "" && s.Version != r.d.opt.Version {
		notes = append(notes, fmt.Sprintf("runs ulvs %s, this director %s", s.Version, r.d.opt.Version))
	}
	if r.states.compare(generation) == control.OtherConfiguration {
		notes = append(notes, "runs another configuration of services")
	}
	switch only := missing(s.Names, down); {
	case len(only) > 0:
		notes = append(notes, fmt.Sprintf("holds for down what is up here: %v", only))
	case s.Version != "" && s.Down < len(down):
		notes = append(notes, fmt.Sprintf("holds %d real servers for down, this director %d", s.Down, len(down)))
	}
	return notes
}

// compare says in control.SyncPeer's words whether a peer's configuration is this director's.
func (b *stateBook) compare(generation uint64) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case generation == 0 || b.config == 0:
		return ""
	case generation != b.config:
		return control.OtherConfiguration
	}
	return control.SameConfiguration
}

// missing returns what of a is not in b.
func missing(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}
