package config

import "testing"

func TestEveryKeyIsFoundOnItsLine(t *testing.T) {
	text := `# a comment with [[brackets]] and = signs
top = 1
[node]  # comment
name = "x # not a comment" # comment
"quoted key".sub = 'it''s'
many = [
  "a", # [
  [1, 2],
  { k = 1, l = "}" },
]
multi = """
[not.a.table]
"""
literal = '''
k = "'''
after = 1
[[service]]
vip = "a"
  [[service.real_server]]
  address = "b"
  [[service.real_server]]
  address = "c"
[[service]]
  [[service.real_server]]
  weight = 1
  [service.extra.deep]
  z = 1
`
	want := map[string]int{
		"top": 2, "node": 3, "node.name": 4, `node."quoted key"`: 5, `node."quoted key".sub`: 5, "node.many": 6,
		"node.many[0]": 7, "node.many[1]": 8, "node.many[2]": 9, "node.many[2].l": 9, "node.multi": 11,
		"node.literal": 14, "node.after": 16, "service": 17, "service[0]": 17, "service[0].vip": 18,
		"service[0].real_server[0]": 19, "service[0].real_server[0].address": 20,
		"service[0].real_server[1].address": 22, "service[1]": 23, "service[1].real_server[0].weight": 25,
		"service[1].extra.deep": 26, "service[1].extra.deep.z": 27,
		"service[1].real_server[0].address": 24, // not set: the table's line
		"nothing.like.it":                   1,
	}
	index := indexLines([]byte(text))
	for path, line := range want {
		if got := index.find(path); got != line {
			t.Errorf("%s: got line %d, want %d", path, got, line)
		}
	}
}
