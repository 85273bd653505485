package config

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"ulvs/internal/testutil"
)

// sameAgain checks that a text means the same whatever was read before it.
func sameAgain(t *testing.T, text string, previous *Config) *Config {
	t.Helper()
	want, wantErr := Parse("f", []byte(text), machine())
	opt := machine()
	opt.Previous = previous
	got, err := Parse("f", []byte(text), opt)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("after another file: %v\nby itself: %v\n%s", err, wantErr, text)
	}
	if err != nil {
		return previous
	}
	a, b := *got, *want
	a.texts, b.texts = nil, nil
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("after another file it means\n%+v\nby itself\n%+v\n%s", a, b, text)
	}
	return got
}

func TestReadingAFileAgainIsReadingIt(t *testing.T) {
	rnd := testutil.Rand(t)
	previous := mustParse(t, Example())
	for range testutil.Rounds(300) {
		lines := strings.SplitAfter(Example(), "\n")
		for range rnd.IntN(3) {
			damage(rnd, lines)
		}
		previous = sameAgain(t, strings.Join(lines, ""), previous)
	}
}

// damage takes a line out, doubles one, moves one, or puts another one there.
func damage(rnd *rand.Rand, lines []string) {
	i, k := rnd.IntN(len(lines)), rnd.IntN(len(lines))
	words := []string{
		"[[service]]\n", "[node]\n", "[service.check]\n", "x = '''\n", "weight = 7\n", "[[mark]]\nmark = 9\n",
		"vip = \"192.0.2.77:80\"\n", "[\"service\"]\n", "\"service\".x = 1\n", " [[ service ]]\n", "\n"}
	switch rnd.IntN(4) {
	case 0:
		lines[i] = ""
	case 1:
		lines[i] += lines[k]
	case 2:
		lines[i], lines[k] = lines[k], lines[i]
	default:
		lines[i] = words[rnd.IntN(len(words))] + lines[i]
	}
}

func TestWhatLooksLikeAServiceAndIsNoneIsReadWhole(t *testing.T) {
	previous := mustParse(t, service+real(`address = "10.0.0.1"`))
	for _, text := range []string{
		service + "x = [\n[[service]]\n]\n",
		service + "[[service]]\nvip = \"192.0.2.10:80\"\n",
		"service = []\n" + node + "[[service]]\nvip = \"192.0.2.11:80\"\n",
		node + "[[service]] # a comment\nvip = \"192.0.2.11:80\"\n[timeouts]\n[service.check]\ntype = \"tcp\"\n",
		node + "[[service]] x\nvip = \"192.0.2.11:80\"\n",
		node + "[[service]]\nvip = \"192.0.2.11:80\"\n[[service.real_server]]\naddress = \"10.0.0.1\"\n[service]\n",
	} {
		sameAgain(t, text, previous)
	}
}

func TestOnlyServicesWhoseTextChangedAreReadAgain(t *testing.T) {
	two := service + real(`address = "10.0.0.1"`) + "[[service]]\nvip = \"192.0.2.11:80\"\n"
	first := mustParse(t, two)
	again := sameAgain(t, strings.Replace(two, "10.0.0.1", "10.0.0.2", 1), first)
	kept := 0
	for text, one := range again.texts {
		if first.texts[text] == one {
			kept++
		}
	}
	if kept != 1 || len(again.texts) != 2 {
		t.Errorf("%d of %d services were kept, want the other one", kept, len(again.texts))
	}
}

func FuzzParseAgain(f *testing.F) {
	f.Add([]byte(Example()), []byte(service+real(`address = "10.0.0.1"`)))
	f.Add([]byte(service+real(`address = "10.0.0.1"`)), []byte(service+"x = [\n[[service]]\n]\n"))
	f.Fuzz(func(t *testing.T, before, text []byte) {
		c, err := Parse("f", before, machine())
		if err != nil {
			return
		}
		sameAgain(t, string(text), c)
	})
}
