package measure

import (
	"fmt"
	"io"
	"math"

	"golang.org/x/perf/benchmath"
)

// Change is one metric of one case in two results.
type Change struct {
	Case        string  `json:"case"`
	Metric      string  `json:"metric"`
	Unit        string  `json:"unit"`
	Old         float64 `json:"old"` // medians
	New         float64 `json:"new"`
	Ratio       float64 `json:"ratio"` // new / old
	P           float64 `json:"p"`     // of the Mann-Whitney U test: that a difference like this is chance
	N           int     `json:"n"`     // samples of the smaller side
	Significant bool    `json:"significant"`
	Better      Better  `json:"better"`
}

// Worse reports by how much the change is for the worse, as a share: 0.1 is a tenth more of what should be less.
func (c *Change) Worse() float64 {
	switch {
	case c.Ratio <= 0 || math.IsInf(c.Ratio, 0) || math.IsNaN(c.Ratio):
		return 0
	case c.Better == More:
		return 1/c.Ratio - 1
	}
	return c.Ratio - 1
}

// alpha is how likely chance may be before a difference is called significant, as benchstat has it.
const alpha = 0.05

// Compare matches two results by case and metric, with benchstat's statistics: no distribution is assumed, the
// median stands for the samples, and the Mann-Whitney U test says whether two sets of them differ.
func Compare(old, now *Result) []Change {
	var list []Change
	for i := range now.Rows {
		row := &now.Rows[i]
		was := old.row(row.Name())
		if was == nil {
			continue
		}
		for k := range row.Metrics {
			m := &row.Metrics[k]
			if o := was.Metric(m.Name); o != nil && len(o.Samples) > 0 && len(m.Samples) > 0 {
				list = append(list, change(row.Name(), o, m))
			}
		}
	}
	return list
}

func (r *Result) row(name string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Name() == name {
			return &r.Rows[i]
		}
	}
	return nil
}

func change(name string, o, m *Metric) Change {
	c := Change{
		Case: name, Metric: m.Name, Unit: m.Unit, Old: o.Median(), New: m.Median(), N: min(len(o.Samples), len(m.Samples)),
		Better: m.Better, P: 1,
	}
	if c.Old != 0 {
		c.Ratio = c.New / c.Old
	}
	if c.N > 1 {
		thresholds := &benchmath.Thresholds{CompareAlpha: alpha}
		test := benchmath.AssumeNothing.Compare(
			benchmath.NewSample(o.Samples, thresholds), benchmath.NewSample(m.Samples, thresholds))
		c.P = test.P
		c.Significant = test.P <= alpha
	}
	return c
}

// PrintChanges writes a comparison as a table. What is not significant shows ~, as benchstat has it.
func PrintChanges(w io.Writer, list []Change) {
	rows := [][]string{{"case", "metric", "old", "new", "new/old", "p", "n", ""}}
	for i := range list {
		c := &list[i]
		verdict := "~"
		if c.Significant && c.Worse() > 0 {
			verdict = "worse"
		} else if c.Significant {
			verdict = "better"
		}
		rows = append(rows, []string{
			c.Case, c.Metric + " " + c.Unit, Format(c.Old), Format(c.New), fmt.Sprintf("%.3f", c.Ratio),
			fmt.Sprintf("%.3f", c.P), fmt.Sprint(c.N), verdict,
		})
	}
	writeColumns(w, rows, 2)
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "the results have no case in common")
	}
}
