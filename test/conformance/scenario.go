package conformance

import (
	"archive/zip"
	"bytes"
	_ "embed" // the committed recordings
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// recordings is the committed copy of the handed-out recordings, a zip archive.
//
//go:embed testdata/recordings.zip
var recordings []byte

// maxFile bounds a scenario's file, so that a folder of something else is refused early.
const maxFile = 64 << 20

// Scenario is one recording: what was done to a kernel in order, and what came of it.
type Scenario struct {
	Name  string   `json:"name"`
	Desc  string   `json:"desc"`
	Tags  []string `json:"tags"`
	Steps []Step   `json:"steps"`
}

// Step is a note, a shell line or a frame.
type Step struct {
	Note string  `json:"note"`
	Cmd  string  `json:"cmd"`
	Text *string `json:"text"` // what Cmd printed; nil: not compared
	RC   *int    `json:"rc"`   // its exit status; nil: not compared
	In   *Frame  `json:"in"`   // injected
	Out  []Frame `json:"out"`  // what came out, in this order on each interface
}

// Frame is an Ethernet frame and where it was seen.
type Frame struct {
	If   string `json:"if"`
	Hex  bytesx `json:"hex"`
	Desc string `json:"desc"` // of the recorder; we decode ourselves
	Real string `json:"real"` // which real server got it; the MAC address says so, too
}

// bytesx is bytes that JSON holds in hexadecimal.
type bytesx []byte

// UnmarshalText reads hexadecimal digits.
func (b *bytesx) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// Committed returns the recordings that are part of this package.
func Committed() (fs.FS, error) {
	return zip.NewReader(bytes.NewReader(recordings), int64(len(recordings)))
}

// Open returns the recordings in a folder or a zip archive; of a folder that holds no recording but
// recordings.zip, those in there.
func Open(path string) (fs.FS, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return openZip(path)
	}
	files, err := fs.Glob(os.DirFS(path), "*.json")
	archive := filepath.Join(path, "recordings.zip")
	if _, gone := os.Stat(archive); err == nil && len(files) == 0 && gone == nil {
		return openZip(archive)
	}
	return os.DirFS(path), err
}

func openZip(path string) (fs.FS, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, fmt.Errorf("%s is neither a folder nor a zip archive: %w", path, err)
	}
	return z, nil
}

// Names lists the scenarios' files of a folder: every .json that has steps, and what index.json names, whether it
// is there or not. An index.json of another form names nothing.
func Names(folder fs.FS) ([]string, error) {
	files, err := fs.Glob(folder, "*.json")
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return f == "index.json" || !hasSteps(folder, f) })
	files = append(files, indexed(folder)...)
	slices.Sort(files)
	return slices.Compact(files), nil
}

// hasSteps reports whether a file is a scenario, if a broken one.
func hasSteps(folder fs.FS, file string) bool {
	text, err := fs.ReadFile(folder, file)
	return err != nil || bytes.Contains(text, []byte(`"steps"`))
}

func indexed(folder fs.FS) (files []string) {
	text, err := fs.ReadFile(folder, "index.json")
	if err != nil {
		return nil
	}
	var index struct{ Scenarios []struct{ Name string } }
	if json.Unmarshal(text, &index) != nil {
		return nil
	}
	for _, s := range index.Scenarios {
		files = append(files, s.Name+".json")
	}
	return files
}

// Load reads a scenario.
func Load(folder fs.FS, file string) (*Scenario, error) {
	if info, err := fs.Stat(folder, file); err != nil {
		return nil, err
	} else if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", file, info.Size(), maxFile)
	}
	text, err := fs.ReadFile(folder, file)
	if err != nil {
		return nil, err
	}
	return Parse(strings.TrimSuffix(path.Base(file), ".json"), text)
}

// Parse reads a scenario's JSON. name is used where it names none.
func Parse(name string, text []byte) (*Scenario, error) {
	s := &Scenario{Name: name}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(s.Steps) == 0 {
		return nil, fmt.Errorf("%s: no steps", name)
	}
	for i, step := range s.Steps {
		if (step.Cmd == "") == (step.In == nil) && step.Note == "" {
			return nil, fmt.Errorf("%s: step %d is neither a note, a command nor a frame", name, i)
		}
		if step.In == nil && len(step.Out) > 0 {
			return nil, fmt.Errorf("%s: step %d has frames out but none in", name, i)
		}
	}
	return s, nil
}
