package journal

import (
	"crypto/sha256"
	"time"
)

// Conflict is a verdict as this node derived it: the loser and the winner, whole.
type Conflict struct {
	Kind          string // "update/update", "insert/insert", "update/delete", "oversold", ...
	Time          time.Time
	Database      string
	Schema, Table string
	Key           map[string]string
	Winner, Loser ID
	Columns       []string
	Rule          string
	LoserSQL      string
}

// conflictKey identifies a conflict: winner, loser, row and kind.
type conflictKey [16]byte

func (c *Conflict) identity() (k conflictKey) {
	e := encoder{}
	e.string(c.Kind)
	e.string(c.Database)
	e.string(c.Schema)
	e.string(c.Table)
	e.stringMap(c.Key)
	e.id(c.Winner)
	e.id(c.Loser)
	sum := sha256.Sum256(e.b)
	copy(k[:], sum[:])
	return k
}

func conflictEntry(c *Conflict) *entry {
	e := encoder{}
	e.conflict(c)
	return &entry{kind: entryConflict, payload: e.b, conflict: c, conflictKey: c.identity(), terms: c.terms(), bytes: len(e.b)}
}

func (c *Conflict) terms() []string {
	return []string{termConflict, term(termDatabase, c.Database), term(termTable, c.Schema+"."+c.Table), term(termName, c.Table)}
}
