package appliance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ulvs/config"
)

// Fetching a configuration.
const (
	fetchTries = 5
	fetchPause = 2 * time.Second
	fetchLimit = 10 * time.Second // of one try
)

// Fetch gets ulvs.toml from where the words said, if they said so, and writes it when it is good. One that cannot be
// had or is not good leaves the one that is there.
func (s *Start) Fetch(ctx context.Context) error {
	url := strings.TrimSpace(s.text(URLFile))
	if url == "" {
		return nil
	}
	text, err := fetch(ctx, url)
	for try := 1; err != nil && try < fetchTries && ctx.Err() == nil; try++ {
		select {
		case <-time.After(fetchPause):
		case <-ctx.Done():
		}
		text, err = fetch(ctx, url)
	}
	if err != nil {
		return fmt.Errorf("fetch the configuration: %w", err)
	}
	if _, err := config.Parse(url, text, s.Config); err != nil {
		return fmt.Errorf("the configuration of %s is not good, the one before stays: %w", url, err)
	}
	return Write(s.Root, []File{{ConfigFile, string(text), 0o640}})
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, MaxConfig+1))
	if err == nil && len(text) > MaxConfig {
		err = fmt.Errorf("%s has more than %d bytes", url, MaxConfig)
	}
	return text, err
}
