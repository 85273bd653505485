package appliance

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ulvs/config"
)

// WordsFile is where words stand besides the kernel's command line: on the boot partition, which any computer reads.
const WordsFile = "boot/efi/ulvs.conf"

// System is what a start changes besides files.
type System interface {
	SetHostname(name string) error
	SetPassword(hash, plain string) error // of root; one of them is empty
}

// Start is one start of the machine.
type Start struct {
	Root   string         // of its files: / or a test's
	Config config.Options // by which a configuration is judged
	System System
	Out    io.Writer                        // all consoles
	Press  func(wait time.Duration) *Dialog // see Consoles.First
	Wait   time.Duration                    // for somebody to press Enter
}

// Run configures the machine: by the words that it was started with, when they are not those it is configured by
// already, or else, when it has no ulvs.toml, by asking. Nothing is changed when something is wrong.
func (s *Start) Run() error {
	words := append(FileWords(s.text(WordsFile)), Words(s.text("proc/cmdline"))...)
	settings, err := Parse(words)
	if err != nil {
		say(s.Out, "nothing was changed:\n%v", err)
		return err
	}
	if len(words) > 0 && !onlyAsk(words) {
		return s.byWords(words, &settings)
	}
	if settings.NeverAsk || s.text(ConfigFile) != "" || s.text(AppliedFile) != "" {
		return nil
	}
	return s.byAsking()
}

// onlyAsk is true when the words say nothing about the machine.
func onlyAsk(words []string) bool {
	for _, w := range words {
		if !strings.HasPrefix(w, "ask=") {
			return false
		}
	}
	return true
}

func (s *Start) byWords(words []string, settings *Settings) error {
	sum := fmt.Sprintf("%x\n", sha256.Sum256([]byte(strings.Join(words, "\n"))))
	if s.text(AppliedFile) == sum {
		say(s.Out, "configured already")
		return nil
	}
	files, err := settings.Files(NICs(s.Root), s.Config)
	if err != nil {
		say(s.Out, "nothing was changed:\n%v", err)
		return err
	}
	if err := s.apply(settings, files, sum); err != nil {
		say(s.Out, "done in part, and tried again at the next start:\n%v", err)
		return err
	}
	say(s.Out, "configured by the words it was started with")
	return nil
}

func (s *Start) byAsking() error {
	say(s.Out, "this machine is not configured.\nPress Enter within %s to do it; "+
		"otherwise it is asked again at the next start.", s.Wait)
	d := s.Press(s.Wait)
	if d == nil {
		say(s.Out, "nobody is here; the start goes on")
		return nil
	}
	err := s.Ask(d)
	if errors.Is(err, ErrSkipped) {
		say(s.Out, "skipped; it is asked again at the next start")
		return nil
	}
	if err == nil {
		say(s.Out, "configured")
	}
	return err
}

// Ask asks in a dialog and does what it is told.
func (s *Start) Ask(d *Dialog) error {
	nics := NICs(s.Root)
	var files []File
	settings, err := d.Ask(nics, func(settings *Settings) (err error) {
		files, err = settings.Files(nics, s.Config)
		return err
	})
	if err != nil {
		return err
	}
	return s.apply(&settings, files, "asked\n")
}

// apply writes the files, what it was done by last: a start that is cut short does it again.
func (s *Start) apply(settings *Settings, files []File, by string) (err error) {
	for _, old := range s.earlier() {
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := Write(s.Root, files); err != nil {
		return err
	}
	if settings.Hostname != "" {
		err = s.System.SetHostname(settings.Hostname)
	}
	if settings.PasswordHash != "" || settings.Password != "" {
		err = errors.Join(err, s.System.SetPassword(settings.PasswordHash, settings.Password))
	}
	if err != nil {
		return err
	}
	return Write(s.Root, []File{{AppliedFile, by, 0o600}})
}

// earlier returns files of an earlier configuration that the next one may not have.
func (s *Start) earlier() []string {
	list, _ := filepath.Glob(filepath.Join(s.Root, "etc/systemd/network/10-ulvs-*.network"))
	return append(list, filepath.Join(s.Root, URLFile))
}

// text returns a file's, empty when there is none.
func (s *Start) text(name string) string {
	b, _ := os.ReadFile(filepath.Join(s.Root, name))
	return string(b)
}
