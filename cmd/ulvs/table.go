package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// grid prints rows in aligned columns, numbers to the right.
type grid struct {
	right  map[int]bool // columns that are numbers
	rows   [][]string
	titles map[int][]string // lines outside of the columns, by the row they stand before
}

// newGrid makes a grid whose columns are named; a name with a leading ">" is a column of numbers.
func newGrid(columns ...string) *grid {
	g := &grid{right: map[int]bool{}, titles: map[int][]string{}}
	for i, name := range columns {
		if rest, found := strings.CutPrefix(name, ">"); found {
			g.right[i], columns[i] = true, rest
		}
	}
	g.rows = [][]string{columns}
	return g
}

// row adds a row; numbers are printed as decimals, strings as they are.
func (g *grid) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	g.rows = append(g.rows, texts)
}

// title adds a line that widens no column.
func (g *grid) title(line string) {
	g.titles[len(g.rows)] = append(g.titles[len(g.rows)], line)
}

// print writes the grid, without trailing blanks.
func (g *grid) print(w io.Writer) {
	var widths []int
	for _, row := range g.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, row := range g.rows {
		g.printTitles(w, i)
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = pad(cell, widths[i], g.right[i])
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(line, "  "), " "))
	}
	g.printTitles(w, len(g.rows))
}

func (g *grid) printTitles(w io.Writer, row int) {
	for _, line := range g.titles[row] {
		fmt.Fprintln(w, line)
	}
}

func pad(s string, width int, right bool) string {
	blanks := strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
	if right {
		return blanks + s
	}
	return s + blanks
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// size words bytes in binary units: 3.5 MiB.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(bytes), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}

// period words seconds by their two largest units: 2d3h, 3h12m, 5m2s, 9s, 15m.
func period(seconds int64) string {
	units := []struct {
		name string
		size int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	for i, u := range units {
		if seconds < u.size || u.size == 1 {
			continue
		}
		text, next := fmt.Sprintf("%d%s", seconds/u.size, u.name), units[i+1]
		if rest := seconds % u.size / next.size; rest > 0 {
			text += fmt.Sprintf("%d%s", rest, next.name)
		}
		return text
	}
	return fmt.Sprintf("%ds", seconds)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
