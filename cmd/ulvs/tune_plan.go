package main

import (
	"fmt"
	"io"
	"strings"

	"ulvs/tuning"
)

// printTunePlan writes workers, ports, and what differs from what should be: now, wanted, why.
func printTunePlan(w io.Writer, p *tuning.Plan, all bool) {
	g := newGrid(">Worker", ">Queue", ">CPU", ">Interrupts on CPU")
	for _, k := range p.Workers {
		g.row(k.ID, k.Queue, k.CPU, k.IRQCPU)
	}
	g.print(w)
	fmt.Fprintln(w)
	g = newGrid("Port", "Bond", "Driver", ">Node", ">Queues", "Frames by", "Note")
	for _, port := range p.Ports {
		node := "-"
		if port.Node >= 0 {
			node = fmt.Sprint(port.Node)
		}
		g.row(port.Name, orDash(port.Of), port.Driver, node, port.Queues, port.Expect, port.Note)
	}
	g.print(w)
	fmt.Fprintln(w)
	printTuneItems(w, p, all)
	for _, note := range p.Notes {
		fmt.Fprintln(w, "note:", note)
	}
}

func printTuneItems(w io.Writer, p *tuning.Plan, all bool) {
	g := newGrid("Of", "Setting", "Now", "Wanted", "", "Why")
	changes, settings := 0, 0
	for _, row := range tuneRows(p.Items, all) {
		if row.State == tuning.StateOK && !all {
			continue
		}
		g.row(row.Subject, row.What, row.Now, row.Wanted, tuneWord(row.State), row.Why)
	}
	for _, it := range p.Items {
		settings++
		if it.State == tuning.StateChange {
			changes++
		}
	}
	if len(g.rows) > 1 {
		g.print(w)
		fmt.Fprintln(w)
	}
	switch changes {
	case 0:
		fmt.Fprintf(w, "All %d settings that ulvs can change are as they should be.\n", settings)
	default:
		fmt.Fprintf(w, "%d of %d settings change with: ulvs tune apply\n", changes, settings)
	}
}

func tuneWord(s tuning.State) string {
	switch s {
	case tuning.StateManual:
		return "by hand"
	case tuning.StateRun:
		return "by ulvs run"
	case tuning.StateOK:
		return "ok"
	}
	return "change"
}

// tuneRows joins what is the same for each queue or core to one row, unless all are to be seen.
func tuneRows(items []tuning.Item, all bool) (rows []tuning.Item) {
	if all {
		return items
	}
	groups := map[string][]tuning.Item{}
	var order []string
	for _, it := range items {
		subject, _, _ := strings.Cut(it.Subject, " ") // CPU 3, node 1
		key := subject + " " + it.What + " " + string(it.State)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], it)
	}
	for _, key := range order {
		rows = append(rows, joinItems(groups[key]))
	}
	return rows
}

func joinItems(group []tuning.Item) tuning.Item {
	row := group[0]
	if len(group) == 1 {
		return row
	}
	row.What = fmt.Sprintf("%s (%d)", row.What, len(group))
	row.Now = common(group, func(it tuning.Item) string { return it.Now })
	row.Wanted = common(group, func(it tuning.Item) string { return it.Wanted })
	if subject, _, found := strings.Cut(row.Subject, " "); found {
		row.Subject = subject + "s"
	}
	if row.Wanted == several {
		row.Wanted = "each its worker's"
		row.Why = strings.Replace(row.Why, "worker 0", "their worker", 1)
	}
	return row
}

const several = "several"

func common(group []tuning.Item, of func(tuning.Item) string) string {
	text := of(group[0])
	for _, it := range group {
		if of(it) != text {
			return several
		}
	}
	return text
}
