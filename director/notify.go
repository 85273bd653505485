package director

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"ulvs/config"
	"ulvs/events"
	"ulvs/notify"
)

const (
	// closeNotify is how long notifications may take when the director ends.
	closeNotify    = 3 * time.Second
	maxSecretBytes = 4096
)

func (d *director) newNotifier() *notify.Notifier {
	return notify.New(notify.Options{
		Journal: d.journal, Director: d.opt.Config.Node.Name, Version: d.opt.Version, Log: d.log,
	})
}

// closeNotifier tells what happened last.
func (d *director) closeNotifier() {
	ctx, cancel := context.WithTimeout(context.Background(), closeNotify)
	defer cancel()
	d.sight.notifier.Close(ctx)
}

// notifyTargets turns [[notify]] tables into targets, with their secrets.
func notifyTargets(tables []config.Notify) ([]notify.Target, error) {
	targets := make([]notify.Target, len(tables))
	for i, n := range tables {
		targets[i] = notify.Target{
			Script: n.Script, Webhook: n.Webhook, Filter: events.Filter{Kinds: n.Events, Service: n.Service},
			Timeout: n.Timeout, Retries: n.Retries, Headers: n.Headers,
		}
		if n.SecretFile == "" {
			continue
		}
		secret, err := readSecret(n.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("secret_file of notify[%d]: %w", i, err)
		}
		targets[i].Secret = secret
	}
	return targets, nil
}

// readSecret returns a file without the line's end.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return nil, err
	}
	secret := bytes.TrimRight(text, "\r\n")
	if len(secret) == 0 || len(text) > maxSecretBytes {
		return nil, fmt.Errorf("%s holds %d bytes; give 1 to %d", path, len(secret), maxSecretBytes)
	}
	return secret, nil
}
