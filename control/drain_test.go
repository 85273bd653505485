package control

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"ulvs/config"
)

// drainingEditor is a fakeEditor that can drain and be edited.
type drainingEditor struct {
	*fakeEditor
	asked []DrainRequest
	edits []config.Edit
}

func (e *drainingEditor) Drain(r DrainRequest) ([]Drain, error) {
	e.asked = append(e.asked, r)
	return e.Drains(), e.refuse
}

func (e *drainingEditor) Enable(r DrainRequest) ([]Drain, error) { return e.Drain(r) }

func (e *drainingEditor) Drains() []Drain {
	return []Drain{{"tcp 192.0.2.10:80", addrPort("10.0.0.1:80"), StateDraining, 7, 60}}
}

func (e *drainingEditor) ApplyEdits(edits []config.Edit) ([]string, error) {
	e.edits = edits
	return []string{"service added"}, e.refuse
}

func TestDrainsAndTheirRefusalsCrossTheWire(t *testing.T) {
	e := &drainingEditor{fakeEditor: newEditor()}
	c := NewClient(serve(t, e))
	r := DrainRequest{Service: "tcp 192.0.2.10:80", RealServer: addrPort("10.0.0.1:80"), TimeoutSeconds: 60}
	all := DrainRequest{RealServer: addrPort("10.0.0.1:0"), All: true}
	got, err := c.Drain(t.Context(), r)
	if err != nil || !reflect.DeepEqual(got, e.Drains()) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.Enable(t.Context(), all); err != nil || !reflect.DeepEqual(e.asked, []DrainRequest{r, all}) {
		t.Errorf("asked for %+v, %v", e.asked, err)
	}
	if list, err := c.Drains(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("drains %+v, %v", list, err)
	}
	e.refuse = errors.New("there is no service tcp 192.0.2.10:80")
	if _, err := c.Drain(t.Context(), r); err == nil || err.Error() != "ulvs refuses: "+e.refuse.Error() {
		t.Errorf("got %v", err)
	}
	if _, err := NewClient(serve(t, newEditor())).Drains(t.Context()); err == nil {
		t.Error("a director that cannot drain answers")
	}
}

func TestEditsCrossTheWire(t *testing.T) {
	e := &drainingEditor{fakeEditor: newEditor()}
	c := NewClient(serve(t, e))
	edits := []config.Edit{{Op: config.EditSetServer, Service: "192.0.2.10:80", Server: "10.0.0.1",
		Keys: map[string]any{"weight": 3.0, "check": nil}}}
	out, err := c.ApplyEdits(t.Context(), edits)
	if err != nil || !reflect.DeepEqual(e.edits, edits) || !reflect.DeepEqual(out.Changes, []string{"service added"}) {
		t.Errorf("got %+v, %v; arrived %+v", out, err, e.edits)
	}
	large := []config.Edit{{Op: strings.Repeat("x", maxRequestBytes)}}
	if _, err := c.ApplyEdits(t.Context(), large); err != nil {
		t.Errorf("a large list: %v", err)
	}
	e.refuse = errors.New("edit 1: no")
	if _, err := c.ApplyEdits(t.Context(), edits); err == nil || !strings.Contains(err.Error(), "edit 1: no") {
		t.Errorf("got %v", err)
	}
}
