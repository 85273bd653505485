package measure

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Print writes the result as a table for people: the cases, the median of each metric, and how far its samples
// were from that.
func (r *Result) Print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s  (ulvs %s, %s)\n%s\n%s\n\n", r.Bench, r.Version, r.Time.Format("2006-01-02 15:04"),
		r.Machine.String(), r.Noise.String())
	r.PrintTable(w)
	for _, note := range r.Notes {
		_, _ = fmt.Fprintf(w, "\n%s", note)
	}
	if len(r.Notes) > 0 {
		_, _ = fmt.Fprintln(w)
	}
}

// PrintTable writes the table alone.
func (r *Result) PrintTable(w io.Writer) {
	params, metrics := r.columns()
	rows := [][]string{r.header(params, metrics)}
	for i := range r.Rows {
		rows = append(rows, r.Rows[i].cells(params, metrics))
	}
	writeColumns(w, rows, len(params))
}

// String is one line for people.
func (n *Noise) String() string {
	text := fmt.Sprintf("load %.2f before, %.2f after; in %.0f s this used %.2f cores, everything else %.2f, stolen %.2f",
		n.LoadBefore, n.LoadAfter, n.Seconds, n.OwnCores, n.OtherCores, n.Stolen)
	if n.OtherCores+n.Stolen > 0.25 {
		text += "\nNOISY: others used the machine meanwhile; trust ratios of one run, not its nanoseconds"
	}
	return text
}

// columns are the names of all parameters and metrics, in the order of their first use.
func (r *Result) columns() (params, metrics []string) {
	for i := range r.Rows {
		for _, p := range r.Rows[i].Case {
			if !slices.Contains(params, p.Name) {
				params = append(params, p.Name)
			}
		}
		for _, m := range r.Rows[i].Metrics {
			if !slices.Contains(metrics, m.Name) {
				metrics = append(metrics, m.Name)
			}
		}
	}
	return params, metrics
}

func (r *Result) header(params, metrics []string) []string {
	line := slices.Clone(params)
	for _, name := range metrics {
		unit := ""
		for i := range r.Rows {
			if m := r.Rows[i].Metric(name); m != nil {
				unit = m.Unit
			}
		}
		line = append(line, strings.TrimSpace(name+" "+unit))
	}
	return line
}

func (r *Row) cells(params, metrics []string) []string {
	var line []string
	for _, name := range params {
		line = append(line, orDash(r.Param(name)))
	}
	for _, name := range metrics {
		m := r.Metric(name)
		if m == nil || len(m.Samples) == 0 {
			line = append(line, "-     ")
			continue
		}
		spread := "      "
		if percent := 100 * m.Spread(); len(m.Samples) > 1 && percent >= 0.5 {
			spread = fmt.Sprintf(" ±%3.0f%%", min(percent, 999))
		}
		line = append(line, Format(m.Median())+spread)
	}
	return line
}

// Format words a figure with three digits that count: 0.123, 12.3, 1 230 000.
func Format(v float64) string {
	abs := math.Abs(v)
	switch {
	case abs >= 1000:
		return thousands(int64(math.Round(v)))
	case abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	case abs >= 1 || abs == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + " " + s[at:]
	}
	return sign + s
}

// Count words a number of things in binary units, as sizes of tables are: 1, 64Ki, 10Mi.
func Count(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMi", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%dKi", n>>10)
	}
	return fmt.Sprint(n)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// writeColumns aligns: the first left columns to the left, the others to the right.
func writeColumns(w io.Writer, rows [][]string, left int) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			blanks := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < left {
				line += cell + blanks + "  "
				continue
			}
			line += blanks + cell + "  "
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}
