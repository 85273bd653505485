package ha

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// pair is a configuration with peers that talk over gossip.
func pair(priority uint8) Config {
	cfg := one(v3(priority))
	cfg.Directors, cfg.Gossip = 2, true
	return cfg
}

func claimOf(owner string, term uint32, prio uint8) Claim {
	c := Claim{Unit: "VI_1", Term: term, Owner: owner, Prio: prio}
	if owner != "" { // lvs1 sends from 198.18.0.11
		c.Source = netip.AddrFrom4([4]byte{198, 18, 0, 10 + owner[3] - '0'})
	}
	return c
}

// backup makes a desk that knows lvs2 as the owner with that term and priority.
func backup(t *testing.T, cfg Config, term uint32, prio uint8) *desk {
	d := newDesk(t, cfg)
	d.do(Event{Kind: EventMembers, Members: 2})
	d.do(Event{Kind: EventStart})
	d.do(Event{Kind: EventClaim, Claim: claimOf("lvs2", term, prio)})
	d.hear(prio, 100*millisecond)
	return d
}

func TestATakeoverTakesTheNextTerm(t *testing.T) {
	d := backup(t, pair(100), 7, 150)
	d.do(Event{Kind: EventPeerGone, Name: "lvs2"})
	if got := d.at(d.now + second); !strings.Contains(got, `claim 8 "lvs1"`) {
		t.Errorf("got %q", got)
	}
}

func TestAMasterYieldsToTheBetterClaim(t *testing.T) {
	for _, c := range []struct {
		claim  Claim
		yields bool
		quorum bool
		term   int // of the claim that insists
	}{
		{claimOf("lvs2", 2, 150), true, false, 0},
		{claimOf("lvs2", 1, 150), true, false, 0},
		{claimOf("lvs2", 1, 100), true, false, 0}, // by address
		{claimOf("lvs0", 1, 100), false, false, 1},
		{claimOf("lvs2", 1, 50), false, false, 1},
		{claimOf("lvs2", 0, 200), false, false, 1},
		{claimOf("lvs2", 2, 50), false, false, 3}, // it yields to our adverts: the next term is ours
		{claimOf("lvs2", 2, 50), true, true, 0},   // a majority chose it
	} {
		d := master(t, pair(100))
		d.m.units[0].quorum = c.quorum
		got := d.do(Event{Kind: EventClaim, Claim: c.claim})
		if strings.Contains(got, "BACKUP ("+string(ReasonHigherTerm)+")") != c.yields {
			t.Errorf("%+v: %s", c.claim, got)
		}
		if !c.yields && !strings.HasSuffix(got, fmt.Sprintf(`claim %d "lvs1", send 100, announce 5`, c.term)) {
			t.Errorf("%+v: insists by %q", c.claim, got)
		}
	}
}

// Rows of the decision table in docs/failover.md, for adverts that stay away.
func TestASilentOwnerIsAskedInTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []Event
		want   string // of the moment the master down time is over
	}{
		{"no answer", nil, "MASTER"},
		{"it serves", []Event{{Kind: EventAnswer, Claim: claimOf("lvs2", 3, 150), Up: true}}, string(AlarmVRRPBroken)},
		{"it does not serve", []Event{{Kind: EventAnswer, Claim: claimOf("lvs2", 3, 150)}}, "MASTER"},
		{"somebody else serves", []Event{{Kind: EventAnswer, Claim: claimOf("lvs3", 3, 150), Up: true}}, "MASTER"},
		{"it died meanwhile", []Event{{Kind: EventAnswer, Claim: claimOf("lvs2", 3, 150), Up: true},
			{Kind: EventPeerGone, Name: "lvs2"}}, "MASTER"},
		{"no gateway", []Event{{Kind: EventGateway}}, string(AlarmNoGateway)},
	} {
		d := backup(t, pair(100), 3, 150)
		down := d.m.ViewInstance(0).DownAt
		d.want(d.at(down-100*millisecond), fmt.Sprintf("%v query lvs2", down-100*millisecond))
		for _, ev := range c.events {
			d.do(ev)
		}
		if got := d.at(down); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %s", c.name, got, c.want)
		}
	}
}

func TestOnlyAMasterThatServesSaysSo(t *testing.T) {
	d := master(t, pair(100))
	d.want(d.do(Event{Kind: EventQuery, Name: "lvs2"}), "answer lvs2 true")
	b := backup(t, pair(100), 3, 150)
	b.want(b.do(Event{Kind: EventQuery, Name: "lvs3"}), "answer lvs3 false")
}

func TestAMasterWithoutAGatewayYieldsIfThereIsAnother(t *testing.T) {
	alone := master(t, pair(100))
	alone.want(alone.do(Event{Kind: EventGateway}), "")
	d := master(t, pair(100))
	d.do(Event{Kind: EventMembers, Members: 2})
	d.want(d.do(Event{Kind: EventGateway}), `send 0, claim 1 "", BACKUP (`+string(ReasonGateway)+")")
}

func TestAReadyDirectorAsksForTheHandover(t *testing.T) {
	d := newDesk(t, pair(200))
	d.do(Event{Kind: EventMembers, Members: 2})
	d.do(Event{Kind: EventStart})
	d.do(Event{Kind: EventClaim, Claim: claimOf("lvs2", 3, 150)})
	d.want(d.hear(150, 100*millisecond), "ask handover lvs2")
	d.want(d.hear(150, 100*millisecond), "")
	d.want(d.do(Event{Kind: EventClaim, Claim: claimOf("", 3, 0)}), "")
	d.hear(0, 100*millisecond)
	if got := d.at(d.now + 100*millisecond*56/256); !strings.Contains(got, `MASTER (the master gave up), claim 4 "lvs1"`) {
		t.Errorf("got %q", got)
	}
}

func TestAHandoverThatDoesNotComeIsAPreemption(t *testing.T) {
	d := backup(t, pair(200), 3, 150)
	var took Time
	for took == 0 && d.now < 10*second {
		d.hear(150, 100*millisecond)
		if strings.Contains(d.at(d.now+100*millisecond), "MASTER ("+string(ReasonPreempt)) {
			took = d.now
		}
	}
	if took < handoverWait || took > handoverWait+time500 {
		t.Errorf("took over after %v", took)
	}
}

const time500 = 500 * millisecond

func TestAnOwnerFlushesBeforeItHandsOver(t *testing.T) {
	d := master(t, pair(100))
	d.want(d.do(Event{Kind: EventHandover, Claim: claimOf("lvs2", 1, 90)}), "")
	d.want(d.do(Event{Kind: EventHandover, Claim: claimOf("lvs2", 1, 200)}), "flush lvs2")
	d.want(d.do(Event{Kind: EventHandover, Claim: claimOf("lvs2", 1, 200)}), "")
	acts := d.m.Step(d.now, Event{Kind: EventFlushed}, nil)
	d.want(words(acts), `send 0, claim 1 "", BACKUP (handed over)`)
	if got := acts[2].Linger; got != linger {
		t.Errorf("goes on forwarding for %v, want %v", got, linger)
	}
}

func TestAFlushThatDoesNotEndIsNotWaitedFor(t *testing.T) {
	d := master(t, pair(100))
	d.do(Event{Kind: EventHandover, Claim: claimOf("lvs2", 1, 200)})
	if got := d.at(d.now + flushWait); !strings.Contains(got, "BACKUP (handed over)") {
		t.Errorf("got %q", got)
	}
}

func TestTheOperatorMovesAUnitAway(t *testing.T) {
	d := master(t, pair(200))
	d.want(d.do(Event{Kind: EventRelease}), "flush ")
	d.want(d.do(Event{Kind: EventFlushed}), `send 0, claim 1 "", BACKUP (`+string(ReasonReleased)+")")
	d.hear(100, 100*millisecond) // the other one took it
	for range 50 {
		d.hear(100, 100*millisecond)
		d.want(d.at(d.now+100*millisecond), "")
	}
	d.do(Event{Kind: EventClaim, Claim: claimOf("lvs2", 2, 100)})
	d.do(Event{Kind: EventResume})
	d.want(d.hear(100, 100*millisecond), "ask handover lvs2")
}

// trio is one of three directors in quorum mode.
func trio(priority uint8) Config {
	cfg := pair(priority)
	cfg.Directors, cfg.Quorum = 3, true
	return cfg
}

func TestInQuorumModeAMajorityDecides(t *testing.T) {
	d := newDesk(t, trio(100))
	d.do(Event{Kind: EventStart})
	down := d.m.ViewInstance(0).DownAt
	d.want(d.at(down), fmt.Sprintf("%v ask votes 1", down))
	d.want(d.do(Event{Kind: EventVote, Name: "lvs2", Claim: claimOf("lvs1", 1, 100)}), "")
	d.want(d.do(Event{Kind: EventVote, Name: "lvs3", Claim: claimOf("lvs1", 9, 100), Up: true}), "") // of another ballot
	got := d.do(Event{Kind: EventVote, Name: "lvs3", Claim: claimOf("lvs1", 1, 100), Up: true})
	if !strings.Contains(got, `claim 1 "lvs1"`) {
		t.Errorf("with two of three: %q", got)
	}
	lonely := newDesk(t, trio(100))
	lonely.do(Event{Kind: EventStart})
	if got := lonely.at(5 * second); strings.Contains(got, "MASTER") || !strings.Contains(got, string(AlarmNoVotes)) {
		t.Errorf("without votes: %q", got)
	}
}

func TestATermIsGivenOnce(t *testing.T) {
	d := newDesk(t, trio(100))
	d.do(Event{Kind: EventStart})
	d.want(d.do(Event{Kind: EventVoteAsk, Claim: claimOf("lvs2", 1, 150)}), "vote lvs2 1 true")
	d.want(d.do(Event{Kind: EventVoteAsk, Claim: claimOf("lvs3", 1, 200)}), "vote lvs3 1 false")
	d.want(d.do(Event{Kind: EventVoteAsk, Claim: claimOf("lvs3", 2, 200)}), "vote lvs3 2 true")
	heard := backup(t, trio(100), 3, 150)
	heard.want(heard.do(Event{Kind: EventVoteAsk, Claim: claimOf("lvs3", 4, 200)}), "vote lvs3 4 false")
	heard.now += 200 * millisecond
	heard.want(heard.do(Event{Kind: EventVoteAsk, Claim: claimOf("lvs3", 4, 200)}), "vote lvs3 4 true")
}

func TestAnOwnerWithoutMajorityAndGatewayStepsDown(t *testing.T) {
	cfg := trio(100)
	cfg.Units[0].Gateway = true
	d := newDesk(t, cfg)
	d.do(Event{Kind: EventGateway, Up: true})
	d.do(Event{Kind: EventMembers, Members: 3})
	d.do(Event{Kind: EventStart})
	d.at(d.m.ViewInstance(0).DownAt)
	d.do(Event{Kind: EventVote, Name: "lvs2", Claim: claimOf("lvs1", 1, 100), Up: true})
	d.want(d.do(Event{Kind: EventMembers, Members: 1}), "")
	d.want(d.do(Event{Kind: EventGateway}), `send 0, claim 1 "", BACKUP (`+string(ReasonNoMajority)+")")
}

func TestAnOwnerWithoutMajorityStepsDownWhereNoGatewayIsAsked(t *testing.T) {
	d := newDesk(t, trio(100))
	d.do(Event{Kind: EventMembers, Members: 3})
	d.do(Event{Kind: EventStart})
	d.at(d.m.ViewInstance(0).DownAt)
	d.do(Event{Kind: EventVote, Name: "lvs2", Claim: claimOf("lvs1", 1, 100), Up: true})
	d.want(d.do(Event{Kind: EventMembers, Members: 2}), "")
	d.want(d.do(Event{Kind: EventMembers, Members: 1}), `send 0, claim 1 "", BACKUP (`+string(ReasonNoMajority)+")")
}

func TestWithoutItsGatewaysAnswerNobodyClaims(t *testing.T) {
	cfg := pair(100)
	cfg.Units[0].Gateway = true
	d := newDesk(t, cfg)
	d.do(Event{Kind: EventStart})
	if got := d.at(5 * second); strings.Contains(got, "MASTER") || !strings.Contains(got, string(AlarmNoGateway)) {
		t.Errorf("before its gateway answered: %q", got)
	}
	d.do(Event{Kind: EventGateway, Up: true})
	if got := d.at(10 * second); !strings.Contains(got, "MASTER") {
		t.Errorf("after its gateway answered: %q", got)
	}
}

func TestADirectorThatForgotItsVotesAbstainsForAWhile(t *testing.T) {
	cfg := trio(100)
	cfg.Abstain = 10 * second
	d := newDesk(t, cfg)
	d.do(Event{Kind: EventStart})
	d.want(d.do(Event{Kind: EventVoteAsk, Claim: claimOf("lvs2", 5, 150)}), "vote lvs2 5 false")
	if got := d.at(9 * second); strings.Contains(got, "ask votes") || !strings.Contains(got, string(AlarmAbstain)) {
		t.Errorf("while it abstains: %q", got)
	}
	if got := d.at(20 * second); !strings.Contains(got, "ask votes") {
		t.Errorf("after that: %q", got)
	}
	d.want(d.do(Event{Kind: EventVoteAsk, Claim: claimOf("lvs2", 50, 150)}), "vote lvs2 50 true")
}
