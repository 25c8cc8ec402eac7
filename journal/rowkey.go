package journal

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// rowHash is what the row index keeps of a RowKey. Two rows that share one cost a look into one record too many.
type rowHash [16]byte

func (k RowKey) hash() (h rowHash) {
	sum := sha256.Sum256([]byte(k))
	copy(h[:], sum[:])
	return h
}

// RowKey gives the row index's key of one row; row has one value per column of rel. A table without key is keyed by all
// its values. Values that the database holds equal though they are written differently (numeric 1.0 and 1.00, blank-padded
// strings, the float -0) give one key.
func (tx *Tx) RowKey(rel *Relation, row []Value) RowKey {
	e := encoder{make([]byte, 0, 64)}
	e.string(tx.Database)
	e.string(rel.Schema)
	e.string(rel.Name)
	columns := rel.Key
	if len(columns) == 0 {
		e.byte('*')
		columns = make([]int, len(rel.Columns))
		for i := range columns {
			columns[i] = i
		}
	} else {
		e.byte('k')
		columns = slices.Clone(columns)
	}
	// By name: the same row has the same key whatever the order of the table's columns is elsewhere.
	slices.SortFunc(columns, func(a, b int) int { return strings.Compare(rel.Columns[a].Name, rel.Columns[b].Name) })
	for _, c := range columns {
		if rel.Columns[c].Generated {
			continue
		}
		v := Value{}
		if c < len(row) {
			v = keyValue(rel.Columns[c].Type, row[c])
		}
		e.string(rel.Columns[c].Name)
		e.value(&v)
	}
	return RowKey(e.b)
}

// keyValue gives the one value that stands for all that are equal to v under the type's default equality.
func keyValue(typ string, v Value) Value {
	if v.Kind != ValueText {
		return v
	}
	switch {
	case strings.HasPrefix(typ, "numeric"):
		v.Data = trimNumeric(v.Data)
	case typ == "bpchar", strings.HasPrefix(typ, "character("):
		v.Data = strings.TrimRight(v.Data, " ")
	case typ == "real", typ == "double precision":
		if v.Data == "-0" {
			v.Data = "0"
		}
	}
	return v
}

func trimNumeric(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// RowKeys gives the row index's keys of every row that tx changes, each once: for a changed key the old and the new
// one. Statements that were rolled back or failed change nothing. The rows of changes in images are not among them: those
// have an index of their own.
func (tx *Tx) RowKeys() []RowKey {
	var keys []RowKey
	seen := map[RowKey]bool{}
	add := func(rel *Relation, row []Value) {
		if row == nil {
			return
		}
		if k := tx.RowKey(rel, row); !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	for i := range tx.Statements {
		st := &tx.Statements[i]
		if st.RolledBack || st.SQLState != "" {
			continue
		}
		for k := range st.Changes {
			c := &st.Changes[k]
			rel := &tx.Relations[c.Relation]
			add(rel, c.Before)
			add(rel, c.After)
		}
	}
	return keys
}

// missing counts the statements whose effect could not be captured and so is not replicated.
func (tx *Tx) missing() (n int64) {
	for i := range tx.Statements {
		if st := &tx.Statements[i]; st.Capture == CaptureMissing && !st.RolledBack {
			n++
		}
	}
	return n
}
