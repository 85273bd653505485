package conntrack

// Applied is what became of a peer's record.
type Applied uint8

// Outcomes.
const (
	AppliedNothing   Applied = iota // older than what is known, or the same of a session that is ours
	AppliedInserted                 // a session that was not there
	AppliedUpdated                  // newer than what was there
	AppliedRefreshed                // the same, with more time
	AppliedClosed                   // removed
	AppliedBuried                   // older than its own end, which came before it
	AppliedClash                    // its key is another session's, by which replies are found
	AppliedFull                     // no room (max_conns)

	// NumApplied is the number of outcomes.
	NumApplied = int(AppliedFull) + 1
)

var appliedNames = [NumApplied]string{
	"stale", "inserted", "updated", "refreshed", "closed", "buried", "clash", "table_full",
}

// String returns the name of the outcome's counter.
func (a Applied) String() string { return appliedNames[a] }
