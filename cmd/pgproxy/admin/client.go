package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pgproxy/audit"
	"pgproxy/journal"
)

// maxLine bounds one line of a stream: a transaction's images may be 256 MiB, as JSON several times that.
const maxLine = 1 << 30

// Client asks a running node.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient makes a client for the node whose data folder is dataDir. It connects with each call; every call returns
// ErrNotRunning if nobody is there.
func NewClient(dataDir string) *Client {
	return &Client{dir: dataDir, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return dial(dataDir) },
	}}}
}

// Running reports whether a node listens on the data folder's socket.
func (c *Client) Running() (bool, error) {
	conn, err := dial(c.dir)
	if errors.Is(err, ErrNotRunning) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, conn.Close()
}

// Status asks for the node's status, as the JSON it came in and decoded.
func (c *Client) Status(ctx context.Context) (Status, []byte, error) {
	var s Status
	raw, err := c.one(ctx, "/v1/status")
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	return s, raw, err
}

// Stats asks for the journal's counts.
func (c *Client) Stats(ctx context.Context) (journal.Stats, error) {
	var s journal.Stats
	raw, err := c.one(ctx, "/v1/stats")
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	return s, err
}

// Record asks for one record by the name people use; it gives its JSON.
func (c *Client) Record(ctx context.Context, origin, seq string) ([]byte, error) {
	return c.one(ctx, "/v1/journal/"+url.PathEscape(origin)+"/"+url.PathEscape(seq))
}

// Journal gives the JSON of each transaction of q; the bytes are valid during the call.
func (c *Client) Journal(ctx context.Context, q JournalQuery, give func(raw []byte) error) error {
	return c.stream(ctx, http.MethodGet, "/v1/journal", q.values(), give)
}

// Audit gives the JSON of each item of the answer to q; the bytes are valid during the call.
func (c *Client) Audit(ctx context.Context, q audit.Question, give func(raw []byte) error) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("ask the node: %w", err)
	}
	return c.lines(ctx, http.MethodPost, "/v1/audit", nil, body, streamed(give))
}

// Conflicts gives the JSON of each conflict, newest first.
func (c *Client) Conflicts(ctx context.Context, limit int, give func(raw []byte) error) error {
	return c.stream(ctx, http.MethodGet, "/v1/conflicts", url.Values{"limit": {strconv.Itoa(limit)}}, give)
}

// Drain runs a drain.
func (c *Client) Drain(ctx context.Context, peer string, timeout time.Duration, give func(raw []byte) error) error {
	return c.stream(ctx, http.MethodPost, "/v1/drain", url.Values{"peer": {peer}, "timeout": {timeout.String()}}, give)
}

// Verify runs a verification.
func (c *Client) Verify(ctx context.Context, database, table string, give func(raw []byte) error) error {
	return c.stream(ctx, http.MethodPost, "/v1/verify", url.Values{"database": {database}, "table": {table}}, give)
}

func (c *Client) do(ctx context.Context, method, path string, v url.Values, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://pgproxy"+path+"?"+v.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if errors.Is(err, ErrNotRunning) {
		return nil, ErrNotRunning
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return nil, fmt.Errorf("ask the node: %w", err)
}

func (c *Client) one(ctx context.Context, path string) ([]byte, error) {
	var item []byte
	err := c.lines(ctx, http.MethodGet, path, nil, nil, func(l *Line) (bool, error) {
		item = l.Item
		return true, nil
	})
	return item, err
}

func (c *Client) stream(ctx context.Context, method, path string, v url.Values, give func([]byte) error) error {
	return c.lines(ctx, method, path, v, nil, streamed(give))
}

// streamed takes the lines of a stream.
func streamed(give func([]byte) error) func(*Line) (bool, error) {
	return func(l *Line) (bool, error) {
		if l.End {
			return true, nil
		}
		return false, give(l.Item)
	}
}

// lines calls take with each line until it says that it was the last one.
func (c *Client) lines(ctx context.Context, method, path string, v url.Values, body []byte, take func(*Line) (bool, error)) error {
	resp, err := c.do(ctx, method, path, v, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		b, err := readLine(r)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the node went away in the middle of its answer")
			}
			return err
		}
		var l Line
		if err := json.Unmarshal(b, &l); err != nil {
			return fmt.Errorf("the node's answer makes no sense: %s: %w", bytes.TrimSpace(b), err)
		}
		if l.Error != nil {
			return l.Error
		}
		if last, err := take(&l); last || err != nil {
			return err
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("a line of the node's answer is longer than %d bytes", maxLine)
		}
	}
}
