package lab

import (
	"strings"
	"testing"
)

func TestALogKeepsWhatCameFirst(t *testing.T) {
	var l Log
	for _, text := range []string{"begin", strings.Repeat("x", logLimit-6), "past the limit", "more"} {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("wrote %d of %d, %v", n, len(text), err)
		}
	}
	if got := l.String(); len(got) != logLimit || !strings.HasPrefix(got, "beginx") || !strings.HasSuffix(got, "xp") {
		t.Errorf("%d bytes kept, of %d", len(got), logLimit)
	}
}
