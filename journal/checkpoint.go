package journal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a node's signed statement about its journal: at that time it had so many entries, and the tree of them this
// root. Its signed form is a note of golang.org/x/mod/sumdb/note, laid out as C2SP's tlog-checkpoint says:
//
//	pgproxy.journal/NODEID
//	SIZE
//	ROOT in base64
//	time 2026-11-25T15:04:05.123Z
//	node NAME
//
//	— pgproxy.journal/NODEID SIGNATURE
type Checkpoint struct {
	Node NodeID
	Name string // of the node
	Size uint64
	Root tlog.Hash
	Time time.Time
	Note []byte // as it was signed
}

// maxCheckpointBytes bounds a signed checkpoint: more is not read.
const maxCheckpointBytes = 4096

// originPrefix begins the name of the log and of the key.
const originPrefix = "pgproxy.journal/"

// errCheckpoint is returned for a text that is no checkpoint.
var errCheckpoint = errors.New("not a checkpoint of a journal")

func (c *Checkpoint) text() string {
	return fmt.Sprintf("%s%s\n%d\n%s\ntime %s\nnode %s\n", originPrefix, c.Node, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]),
		c.Time.UTC().Format(time.RFC3339Nano), strings.ToValidUTF8(strings.ReplaceAll(c.Name, "\n", " "), "?"))
}

// ParseCheckpoint reads a signed checkpoint and checks its signature against key, the public key of a node as Identity.Key
// gives it. An empty key leaves the signature unchecked.
func ParseCheckpoint(signed []byte, key string) (Checkpoint, error) {
	var c Checkpoint
	if len(signed) > maxCheckpointBytes {
		return c, fmt.Errorf("%w: %d bytes", errCheckpoint, len(signed))
	}
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok {
		return c, errCheckpoint
	}
	if key != "" {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return c, fmt.Errorf("read public key: %w", err)
		}
		n, err := note.Open(signed, note.VerifierList(verifier))
		if err != nil {
			return c, fmt.Errorf("check signature of checkpoint: %w", err)
		}
		text = strings.TrimSuffix(n.Text, "\n")
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 5 {
		return c, errCheckpoint
	}
	id, ok := strings.CutPrefix(lines[0], originPrefix)
	if !ok {
		return c, errCheckpoint
	}
	var err [4]error
	c.Node, err[0] = ParseNodeID(id)
	c.Size, err[1] = strconv.ParseUint(lines[1], 10, 62)
	c.Root, err[2] = tlog.ParseHash(lines[2])
	c.Time, err[3] = time.Parse(time.RFC3339Nano, strings.TrimPrefix(lines[3], "time "))
	c.Name = strings.TrimPrefix(lines[4], "node ")
	if e := errors.Join(err[:]...); e != nil {
		return c, fmt.Errorf("%w: %w", errCheckpoint, e)
	}
	c.Note = signed
	return c, nil
}

// checkpointEntry is a checkpoint as an entry of the journal that it is about.
func checkpointEntry(signed []byte) *entry {
	return &entry{kind: entryCheckpoint, payload: signed, bytes: len(signed)}
}

func parseCheckpointEntry(payload []byte) (*entry, error) {
	if _, err := ParseCheckpoint(payload, ""); err != nil {
		return nil, err
	}
	return checkpointEntry([]byte(string(payload))), nil
}
