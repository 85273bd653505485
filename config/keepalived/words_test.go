package keepalived

import (
	"slices"
	"testing"
)

func TestWordsAreCutAsTheManualSays(t *testing.T) {
	for line, want := range map[string][]string{
		`abcd" efg h jkl "mnop`:          {"abcd efg h jkl mnop"},
		`abcd "efg h jkl" mnop`:          {"abcd", "efg h jkl", "mnop"},
		`a 'b "c" d'`:                    {"a", `b "c" d`},
		`"a\"b" \x41\102\n\cA`:           {`a"b`, "AB\n\x01"},
		`a\ b\#c # d`:                    {"a b#c"},
		`virtual_ipaddress{1.2.3.4}`:     {"virtual_ipaddress{1.2.3.4}"},
		`x { y } z`:                      {"x", "{", "y", "}", "z"},
		`url{`:                           {"url", "{"},
		`TCP_CHECK {}`:                   {"TCP_CHECK", "{", "}"},
		`regex a{3} ${x}`:                {"regex", "a{3}", "${x}"},
		`regex "a {" }`:                  {"regex", "a {", "}"},
		`path http://host//x // comment`: {"path", "http://host//x"},
		`lb_algo rr//not a comment`:      {"lb_algo", "rr//not", "a", "comment"},
		`it's one # apostrophe`:          {"it's", "one"},
		"protocol TCP //转发，协议":           {"protocol", "TCP"},
		`"never closed # } `:             {"never closed # } "},
		`priority 100!comment`:           {"priority", "100"},
	} {
		code, _, _, _ := split(line)
		var got []string
		for _, w := range cut(code, func(col int) Pos { return Pos{Col: col} }) {
			got = append(got, w.text)
			if w.at.Col < 1 || w.at.Col > len(line) {
				t.Errorf("%s: %q is at column %d", line, w.text, w.at.Col)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: words %q, want %q", line, got, want)
		}
	}
}

// statements returns those of a text, as they would be written.
func statements(t *testing.T, text, id string) (out []string) {
	t.Helper()
	var findings []Finding
	opt := text2options(text)
	opt.ID = id
	r := &reader{opt: opt, tree: newTree(&findings), findings: &findings, defs: map[string]string{},
		budget: MaxExpandedBytes}
	if err := r.file("f", Pos{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range all(r.tree.root.block) {
		out = append(out, s.source())
	}
	return out
}

func TestDefinitionsAndSequencesAreThoseOfTheManual(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"values are looked up when they are used",
			"$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32", []string{"10.2.0.100/32", "10.2.10.100/32"}},
		{"what is not defined stays", "a ${NO} $NO b", []string{"a ${NO} $NO b"}},
		{"a name ends at a blank", "$A=1\nx $A $Ab $A.c", []string{"x 1 $Ab $A.c"}},
		{"conditions", "@main p 240\n@backup p 200\n@^main q 1\n@^other r 1", []string{"p 240", "r 1"}},
		{"a condition in a value", "$IF=@main\n$IF p 240\n$NOT=@other\n$NOT p 1", []string{"p 240"}},
		{"a conditional definition", "@main $P=1\n@other $P=2\np $P", []string{"p 1"}},
		{"an empty value", "$E=\na $E b", []string{"a b"}},
		{"lines", "$L= \\\na { \\\n b ${N} \\\n}\n$N=1\n$L\n$N=2\n$L", []string{"a", "b 1", "a", "b 2"}},
		{"sequences", "~SEQ(S, 0, 3) ip 10.0.${S}.1", []string{"ip 10.0.0.1", "ip 10.0.1.1", "ip 10.0.2.1", "ip 10.0.3.1"}},
		{"sequences with a step", "~SEQx(S, 144, 16, 192) ip :${S}:", []string{"ip :90:", "ip :a0:", "ip :b0:", "ip :c0:"}},
		{"sequences downwards", "~SEQ(S, -2) a ${S}", []string{"a -1", "a -2"}},
		{"lists", "~LST({A, B}, {10,1},{20,4}) 1.${A}.${B}", []string{"1.10.1", "1.20.4"}},
		{"both", "~LST(A, 1, 2) ~SEQ(B, 168, 2, 170) 1.${B}.${A}", []string{"1.168.1", "1.170.1", "1.168.2", "1.170.2"}},
		{"a line that goes on", "lvs_sync_daemon eth0 \\\n  id 3", []string{"lvs_sync_daemon eth0 id 3"}},
		{"# and ! by name", "a ${_HASH}1${_BANG}", []string{"a #1!"}},
	} {
		if got := statements(t, c.text, "main"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestGroupsHoldRanges(t *testing.T) {
	for text, want := range map[string][2]string{
		"192.0.2.1":            {"192.0.2.1", "192.0.2.1"},
		"192.0.2.1-9":          {"192.0.2.1", "192.0.2.9"},
		"192.0.2.1-192.0.3.9":  {"192.0.2.1", "192.0.3.9"},
		"192.0.2.0/28":         {"192.0.2.0", "192.0.2.15"},
		"2001:db8::a-ff":       {"2001:db8::a", "2001:db8::ff"},
		"2001:db8::/126":       {"2001:db8::", "2001:db8::3"},
		"192.0.2.9-1":          {"", ""},
		"192.0.2.9-2001:db8::": {"", ""},
		"fe80::1%eth0":         {"", ""},
		"x":                    {"", ""},
	} {
		first, last, ok := addressRange(text)
		if !ok && want[0] == "" {
			continue
		}
		if !ok || first.String() != want[0] || last.String() != want[1] {
			t.Errorf("%s: %s to %s, %v; want %v", text, first, last, ok, want)
		}
	}
}
