package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"pgproxy/journal"
)

// Treatment is what is shown of a column's values.
type Treatment uint8

// The treatments.
const (
	Clear   Treatment = iota
	Masked            // redacted
	Hashed            // keyed HMAC-SHA256 of the value: equal values can be recognized, and nothing else
	Omitted           // as if the column were not there
)

// mask is one masked column, by patterns.
type mask struct {
	database, schema, table, column string
	treatment                       Treatment
}

func parseMask(text string) (mask, error) {
	m := mask{database: "*"}
	name, what, ok := strings.Cut(text, "=")
	switch what {
	case "mask":
		m.treatment = Masked
	case "hash":
		m.treatment = Hashed
	case "omit":
		m.treatment = Omitted
	default:
		ok = false
	}
	if database, rest, found := strings.Cut(name, "/"); found {
		m.database, name = database, rest
	}
	parts := strings.Split(name, ".")
	if !ok || len(parts) != 3 || slices.Contains(parts, "") || m.database == "" {
		return m, fmt.Errorf("mask %q is not [database/]schema.table.column=mask, =hash or =omit", text)
	}
	m.schema, m.table, m.column = parts[0], parts[1], parts[2]
	return m, nil
}

// Column says what is shown of a column.
func (p *Policy) Column(database, schema, table, column string) Treatment {
	if p == nil {
		return Clear
	}
	for _, m := range p.masks {
		if matches(m.database, database) && matches(m.schema, schema) && matches(m.table, table) && matches(m.column, column) {
			return m.treatment
		}
	}
	return Clear
}

// Masks reports whether any column of these tables ("schema.table", or a name alone) is masked: then the literals and
// parameters of a statement that names them are not recorded.
func (p *Policy) Masks(database string, tables []string) bool {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(tables, func(t string) bool {
		schema, table, ok := strings.Cut(t, ".")
		if !ok {
			schema, table = "", t
		}
		return slices.ContainsFunc(p.masks, func(m mask) bool {
			return matches(m.database, database) && matches(m.table, table) && (schema == "" || matches(m.schema, schema))
		})
	})
}

// HasMasks reports whether anything is masked at all, and whether a key is needed for it.
func (p *Policy) HasMasks() (any, keyed bool) {
	if p == nil {
		return false, false
	}
	return len(p.masks) > 0, slices.ContainsFunc(p.masks, func(m mask) bool { return m.treatment == Hashed })
}

// veil gives a row as it may be shown.
func veil(row []journal.Value, columns []Treatment, key []byte) []journal.Value {
	if row == nil {
		return nil
	}
	out := slices.Clone(row)
	for i, t := range columns {
		if v := out[i]; t == Omitted {
			out[i] = journal.Value{}
		} else if t != Clear && (v.Kind == journal.ValueText || v.Kind == journal.ValueBinary) {
			out[i] = journal.Value{Kind: journal.ValueRedacted}
			if t == Hashed && len(key) > 0 {
				mac := hmac.New(sha256.New, key)
				mac.Write([]byte(v.Data))
				out[i] = journal.Text("hmac-sha256:" + hex.EncodeToString(mac.Sum(nil)))
			}
		}
	}
	return out
}
