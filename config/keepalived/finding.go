package keepalived

import "fmt"

// Pos is a place in a file: lines and columns (bytes) count from 1. In lines made by definitions or sequences the
// column is that of the line they were written in.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"column"`
}

// String returns file:line:column, which editors jump to.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Kind is what became of a word.
type Kind string

// The kinds of findings.
const (
	Broken   Kind = "broken"     // the file is not well-formed here; the text says what was expected
	Unmapped Kind = "not mapped" // ulvs does not do it, or not that way
	Refused  Kind = "refused"    // mapped, but package config refuses the result: it is commented out
	Skipped  Kind = "skipped"    // a conditional line of another configuration id
	Note     Kind = "note"       // mapped, with something to know
)

// Finding is one thing to know about the import.
type Finding struct {
	Pos  Pos    `json:"pos"`
	Kind Kind   `json:"kind"`
	Word string `json:"word"` // keepalived's word, as written; may be empty
	Text string `json:"text"` // the reason, and what to do
	// Places is how many places of the file this holds for, where it is told at the first only; else 0.
	Places int `json:"places,omitempty"`
}

// String returns "file:line:column: word: kind: text".
func (f Finding) String() string {
	text := f.Text
	if f.Places > 1 {
		text = fmt.Sprintf("%s (in %d places)", text, f.Places)
	}
	if f.Word == "" {
		return fmt.Sprintf("%s: %s: %s", f.Pos, f.Kind, text)
	}
	return fmt.Sprintf("%s: %s: %s: %s", f.Pos, f.Word, f.Kind, text)
}
