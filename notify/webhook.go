package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"ulvs/events"
)

// Headers of a request. SignatureHeader is there if there is a secret: "sha256=" and the HMAC, in
// hexadecimal, of the timestamp, a dot and the body.
const (
	EventHeader     = "X-Ulvs-Event"
	DeliveryHeader  = "X-Ulvs-Delivery"  // the same for each attempt to deliver an event
	TimestampHeader = "X-Ulvs-Timestamp" // seconds since 1970, of the attempt
	SignatureHeader = "X-Ulvs-Signature"
)

// maxAnswer bounds what is read of an answer, in bytes: only its status counts.
const maxAnswer = 64 << 10

// message is the body of a request.
type message struct {
	Director string `json:"director"`
	Text     string `json:"text"` // the event in words, as chat services show it
	events.Event
}

// Sign returns what SignatureHeader holds.
func Sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// newClient makes a client that follows no redirects, which would turn POST into GET.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// post sends the event once.
func (n *Notifier) post(ctx context.Context, t *Target, e *events.Event) error {
	body, err := json.Marshal(message{n.opt.Director, e.String(), *e})
	if err != nil {
		return permanent{fmt.Errorf("encode the event: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Webhook, bytes.NewReader(body))
	if err != nil {
		return permanent{err}
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ulvs/"+n.opt.Version)
	req.Header.Set(EventHeader, string(e.Kind))
	req.Header.Set(DeliveryHeader, fmt.Sprintf("%d-%d", n.opt.Journal.Epoch(), e.Seq))
	req.Header.Set(TimestampHeader, timestamp)
	if len(t.Secret) > 0 {
		req.Header.Set(SignatureHeader, Sign(t.Secret, timestamp, body))
	}
	for name, value := range t.Headers {
		req.Header.Set(name, value)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // the status says it all
	switch {
	case resp.StatusCode < 300:
		return nil
	case retryable(resp.StatusCode):
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return permanent{fmt.Errorf("it answers %s", resp.Status)}
}
