package control

import (
	"context"
	"errors"
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
	mux.HandleFunc("POST /v1/edit", s.asAdmin(command(s, errNoConfigEditor, applyEdits)))
	mux.HandleFunc("/v1/edit", s.onlyMethod(http.MethodPost))
}

func applyEdits(e ConfigEditor, body Edits) (Edited, error) {
	changes, err := e.ApplyEdits(body.Edits)
	return Edited{notNil(changes)}, err
}

// ApplyEdits makes all of the edits, or none.
func (c *Client) ApplyEdits(ctx context.Context, edits []config.Edit) (out Edited, err error) {
	return out, c.exchange(ctx, "/v1/edit", Edits{edits}, &out)
}
