package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ulvs/config"
)

// ConfigEditor is an Editor that takes edits in the words of the file.
type ConfigEditor interface {
	// ApplyEdits makes all of the edits, with one snapshot, or none; then the error says everything that is wrong. The
	// answer is what changed, in words.
	ApplyEdits(edits []config.Edit) (changes []string, err error)
}

// Edits is the body of POST /v1/edit.
type Edits struct {
	Edits []config.Edit `json:"edits"`
}

// Edited is its answer.
type Edited struct {
	Changes []string `json:"changes"`
}

var errNoConfigEditor = errors.New("this director cannot be edited")

// maxEditBytes bounds the body of a list of edits.
const maxEditBytes = 16 << 20

func (s *Server) routeEdit(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/edit", s.asAdmin(s.applyEdits))
	mux.HandleFunc("/v1/edit", s.onlyMethod(http.MethodPost))
}

func (s *Server) applyEdits(w http.ResponseWriter, r *http.Request, e Editor) {
	editor, ok := e.(ConfigEditor)
	if !ok {
		s.refuse(w, http.StatusNotImplemented, errNoConfigEditor)
		return
	}
	var body Edits
	if err := decodeStrict(r.Body, &body); err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("the edits cannot be read: %w", err))
		return
	}
	changes, err := editor.ApplyEdits(body.Edits)
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.answer(w, http.StatusOK, Edited{notNil(changes)})
}

// ApplyEdits makes all of the edits, or none.
func (c *Client) ApplyEdits(ctx context.Context, edits []config.Edit) (out Edited, err error) {
	return out, c.exchange(ctx, "/v1/edit", Edits{edits}, &out)
}
