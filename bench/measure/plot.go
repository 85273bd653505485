package measure

import (
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Size of a plot and of its margins, in pixels.
const (
	plotWidth, plotHeight           = 860, 460
	plotLeft, plotRight             = 80, 250
	plotTop, plotBottom             = 50, 60
	innerWidth, innerHeight float64 = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
)

// palette is colour-blind safe (Okabe and Ito).
var palette = []string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"}

// line is one line of a plot, or one bar.
type line struct {
	name   string
	x, y   []float64
	labels []string // of the x values
}

// WritePlot draws the result into an SVG file.
func (r *Result) WritePlot(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	r.SVG(f)
	return f.Close()
}

// SVG draws the result: lines over a parameter with a logarithmic axis, or a bar for each row.
func (r *Result) SVG(w io.Writer) {
	lines, unit := r.lines()
	top := 0.0
	for _, l := range lines {
		top = max(top, slices.Max(l.y))
	}
	c := &canvas{w: w, lines: lines, top: niceTop(top)}
	c.open(fmt.Sprintf("ulvs bench %s: %s", r.Bench, strings.TrimSpace(r.Plot.Metric+" "+unit)), r.Machine.String())
	if r.Plot.X == "" {
		c.drawBars()
	} else {
		c.yAxis(unit)
		c.xAxis(r.Plot.X)
		c.drawLines()
	}
	c.put("</svg>\n")
}

// lines sorts the rows into lines by every parameter but X.
func (r *Result) lines() (lines []line, unit string) {
	for i := range r.Rows {
		row := &r.Rows[i]
		m := row.Metric(r.Plot.Metric)
		if m == nil || len(m.Samples) == 0 {
			continue
		}
		unit = m.Unit
		var rest []string
		for _, p := range row.Case {
			if p.Name != r.Plot.X {
				rest = append(rest, p.Value)
			}
		}
		name := strings.Join(rest, " ")
		at := slices.IndexFunc(lines, func(l line) bool { return l.name == name })
		if at < 0 {
			at = len(lines)
			lines = append(lines, line{name: name})
		}
		l := &lines[at]
		label := row.Param(r.Plot.X)
		l.x, l.y, l.labels = append(l.x, value(label)), append(l.y, m.Median()), append(l.labels, label)
	}
	return lines, unit
}

// value reads a number as Count words it; 0 for what is none.
func value(label string) float64 {
	number, factor := label, 1.0
	for suffix, f := range map[string]float64{"Ki": 1 << 10, "Mi": 1 << 20} {
		if rest, found := strings.CutSuffix(label, suffix); found {
			number, factor = rest, f
		}
	}
	v, _ := strconv.ParseFloat(number, 64)
	return v * factor
}

// niceTop is the next of 1, 2, 2.5, 5 times a power of ten.
func niceTop(v float64) float64 {
	if v <= 0 {
		return 1
	}
	base := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
		if f*base >= v {
			return f * base
		}
	}
	return 10 * base
}

// canvas draws one plot.
type canvas struct {
	w     io.Writer
	lines []line
	top   float64 // of the vertical axis
}

func (c *canvas) put(format string, args ...any) { _, _ = fmt.Fprintf(c.w, format, args...) }

func (c *canvas) text(x, y float64, anchor string, size int, s string) {
	c.put(`<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>`+"\n",
		x, y, anchor, size, html.EscapeString(s))
}

func (c *canvas) open(title, below string) {
	c.put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">`+"\n",
		plotWidth, plotHeight)
	c.put(`<rect width="100%%" height="100%%" fill="white"/>` + "\n")
	c.text(plotLeft, 20, "start", 15, title)
	c.text(plotLeft, 36, "start", 9, below)
}

func (c *canvas) y(v float64) float64 { return plotTop + innerHeight*(1-v/c.top) }

func (c *canvas) yAxis(unit string) {
	for i := range 6 {
		v := c.top * float64(i) / 5
		c.put(`<line x1="%d" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n",
			plotLeft, plotLeft+innerWidth, c.y(v), c.y(v))
		c.text(plotLeft-6, c.y(v)+4, "end", 11, Format(v))
	}
	c.text(12, plotTop-6, "start", 11, unit)
}

// span is the smallest and the largest x above 0.
func (c *canvas) span() (low, high float64) {
	low, high = math.Inf(1), 1
	for _, l := range c.lines {
		for _, x := range l.x {
			if x > 0 {
				low, high = min(low, x), max(high, x)
			}
		}
	}
	return min(low, high), high
}

func (c *canvas) x(v float64) float64 {
	low, high := c.span()
	if high == low {
		return plotLeft + innerWidth/2
	}
	return plotLeft + innerWidth*math.Log(max(v, low)/low)/math.Log(high/low)
}

func (c *canvas) xAxis(name string) {
	seen := map[string]bool{}
	for _, l := range c.lines {
		for i, label := range l.labels {
			if seen[label] {
				continue
			}
			seen[label] = true
			c.text(c.x(l.x[i]), plotTop+innerHeight+18, "middle", 11, label)
		}
	}
	c.text(plotLeft+innerWidth/2, plotHeight-16, "middle", 12, name)
}

func (c *canvas) drawLines() {
	for i, l := range c.lines {
		colour := palette[i%len(palette)]
		points := make([]string, len(l.x))
		for k := range l.x {
			points[k] = fmt.Sprintf("%.1f,%.1f", c.x(l.x[k]), c.y(l.y[k]))
			c.put(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", c.x(l.x[k]), c.y(l.y[k]), colour)
		}
		c.put(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		c.legend(i, colour, l.name)
	}
}

func (c *canvas) legend(i int, colour, name string) {
	x, y := plotLeft+innerWidth+20, float64(plotTop+14+18*i)
	c.put(`<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s"/>`+"\n", x, y-10, colour)
	c.text(x+18, y, "start", 11, name)
}

// drawBars draws one bar below the other, each with its name.
func (c *canvas) drawBars() {
	const left, right = 220, 70 // of the bars
	step := innerHeight / float64(max(len(c.lines), 1))
	for i, l := range c.lines {
		v, y := median(l.y), plotTop+step*float64(i)
		width := (plotWidth - left - right) * v / c.top
		c.put(`<rect x="%d" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
			left, y+step*0.15, width, step*0.7, palette[0])
		c.text(left-8, y+step*0.5+4, "end", 12, l.name)
		c.text(left+width+6, y+step*0.5+4, "start", 12, Format(v))
	}
}
