package measure

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Result is one run of one benchmark, as --json prints it and compare reads it.
type Result struct {
	Bench    string            `json:"bench"` // pipeline, table ...
	Version  string            `json:"version"`
	Time     time.Time         `json:"time"`
	Machine  Machine           `json:"machine"`
	Settings map[string]string `json:"settings,omitempty"`
	Noise    Noise             `json:"noise"`
	Rows     []Row             `json:"rows"`
	Notes    []string          `json:"notes,omitempty"` // what a reader of the figures has to know
	Plot     Plot              `json:"plot"`
}

// Row is one case: what was varied, and what was measured.
type Row struct {
	Case    []Param  `json:"case"`
	Metrics []Metric `json:"metrics"`
}

// Param is one thing that was varied.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Better says which way a metric should go.
type Better string

// The ways.
const (
	Less Better = "less"
	More Better = "more"
)

// Metric is one measured thing, a sample for each time it was measured.
type Metric struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Better  Better    `json:"better"`
	Samples []float64 `json:"samples"`
}

// Plot says how the rows are drawn: the value of X is the horizontal axis, Metric the vertical one, and the
// other parameters name the lines. Without X the rows are bars.
type Plot struct {
	X      string `json:"x,omitempty"`
	Metric string `json:"metric,omitempty"`
	LogY   bool   `json:"log_y,omitempty"`
}

// Case makes parameters out of pairs of name and value.
func Case(pairs ...any) []Param {
	list := make([]Param, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, Param{fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1])})
	}
	return list
}

// Name words a case: dr/sessions=1Ki.
func (r *Row) Name() string {
	words := make([]string, len(r.Case))
	for i, p := range r.Case {
		words[i] = p.Name + "=" + p.Value
	}
	return strings.Join(words, " ")
}

// Param returns the value of a parameter, "" if the row has none of that name.
func (r *Row) Param(name string) string {
	for _, p := range r.Case {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Metric returns the metric of that name, nil if the row has none.
func (r *Row) Metric(name string) *Metric {
	for i := range r.Metrics {
		if r.Metrics[i].Name == name {
			return &r.Metrics[i]
		}
	}
	return nil
}

// Add appends a sample to the metric of that name, which it makes first if needed.
func (r *Row) Add(name, unit string, better Better, sample float64) {
	m := r.Metric(name)
	if m == nil {
		r.Metrics = append(r.Metrics, Metric{Name: name, Unit: unit, Better: better})
		m = &r.Metrics[len(r.Metrics)-1]
	}
	m.Samples = append(m.Samples, sample)
}

// Median of the samples; 0 if there are none.
func (m *Metric) Median() float64 { return median(m.Samples) }

func median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(samples))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Spread is half the distance from the smallest to the largest sample, as a share of the median.
func (m *Metric) Spread() float64 {
	mid := m.Median()
	if len(m.Samples) < 2 || mid == 0 {
		return 0
	}
	return (slices.Max(m.Samples) - slices.Min(m.Samples)) / 2 / mid
}

// Read reads a result that --json wrote.
func Read(file string) (*Result, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s is no result of ulvs bench: %w", file, err)
	}
	if r.Bench == "" {
		return nil, fmt.Errorf("%s is no result of ulvs bench: it names no benchmark", file)
	}
	return r, nil
}
