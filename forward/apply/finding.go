package apply

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// keptFinding is the form of a conflict.Finding in pgproxy.finding.
type keptFinding struct {
	Aside  bool              `json:"aside,omitempty"`
	Stuck  bool              `json:"stuck,omitempty"`
	Lost   []int             `json:"lost,omitempty"`
	Given  map[int][]int     `json:"given,omitempty"`
	Causes map[string]uint64 `json:"causes"`
	Losses []conflict.Loss   `json:"losses,omitempty"`
}

func encodeFinding(f *conflict.Finding) (string, error) {
	k := keptFinding{Aside: f.Aside, Stuck: f.Stuck, Given: map[int][]int{}, Causes: map[string]uint64{}, Losses: f.Losses}
	for p := range f.Lost {
		k.Lost = append(k.Lost, p)
	}
	slices.Sort(k.Lost)
	for p, columns := range f.Given {
		for c := range columns {
			k.Given[p] = append(k.Given[p], c)
		}
		slices.Sort(k.Given[p])
	}
	for n, seq := range f.Causes {
		k.Causes[n.String()] = seq
	}
	b, err := json.Marshal(k)
	return string(b), err
}

func decodeFinding(text []byte) (*conflict.Finding, error) {
	var k keptFinding
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	f := &conflict.Finding{Causes: journal.Vector{}}
	f.Aside, f.Stuck, f.Losses = k.Aside, k.Stuck, k.Losses
	for _, p := range k.Lost {
		if f.Lost == nil {
			f.Lost = map[int]bool{}
		}
		f.Lost[p] = true
	}
	for p, columns := range k.Given {
		if f.Given == nil {
			f.Given = map[int]map[int]bool{}
		}
		f.Given[p] = map[int]bool{}
		for _, c := range columns {
			f.Given[p][c] = true
		}
	}
	for name, seq := range k.Causes {
		n, err := journal.ParseNodeID(name)
		if err != nil {
			return nil, err
		}
		f.Causes[n] = seq
	}
	return f, nil
}

// loadFindings makes the judge, with what was found before.
func (d *database) loadFindings(j *journal.Journal) error {
	d.judge = conflict.NewJudge(conflict.Rules{Give: d.give, Check: d.check})
	rows, err := d.s.query("SELECT origin::text, seq::text, finding FROM pgproxy.finding")
	if err != nil {
		return fmt.Errorf("read the findings of database %s: %w", d.name, err)
	}
	for _, r := range rows {
		id, err := parseID(r[0], r[1])
		if err != nil {
			return fmt.Errorf("read the findings of database %s: %w", d.name, err)
		}
		f, err := decodeFinding(r[2])
		if err != nil {
			return fmt.Errorf("read the finding about record %s in database %s: %w", id, d.name, err)
		}
		rec, err := j.Record(id)
		if errors.Is(err, journal.ErrNotFound) {
			continue // older than anything that the journal can still fold
		}
		if err != nil {
			return fmt.Errorf("read record %s: %w", id, err)
		}
		touches, err := conflict.Whole(rec)
		if err != nil {
			return err
		}
		d.judge.Accept(conflict.NewCase(rec, touches), f)
	}
	return nil
}

const findingSQL = `INSERT INTO pgproxy.finding (origin, seq, finding) VALUES ($1::uuid, $2::int8, $3::text)
ON CONFLICT (origin, seq) DO UPDATE SET finding = excluded.finding`

// keepFindings adds what was found to the transaction.
func (s *single) keepFindings() error {
	for _, id := range s.toKeep() {
		text, err := encodeFinding(s.ruling.Findings[id])
		if err != nil {
			return fmt.Errorf("write the finding about record %s: %w", id, err)
		}
		s.f.add(findingSQL, journal.Text(hex.EncodeToString(id.Origin[:])), journal.Text(strconv.FormatUint(id.Seq, 10)), journal.Text(text))
	}
	return nil
}

// toKeep gives the transactions about which something is found, or was.
func (s *single) toKeep() []journal.ID {
	if s.ruling == nil {
		return nil
	}
	var ids []journal.ID
	for id, f := range s.ruling.Findings {
		if !f.None() || s.d.judge.Verdict(id) != nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b journal.ID) int { return journal.Order(0, a, 0, b) })
	return ids
}

// accept makes the ruling the judge's: it is committed.
func (s *single) accept() {
	for _, id := range s.changed {
		for _, k := range s.ruling.Case(id).Rows() {
			s.d.histories.drop(k)
		}
	}
	for _, id := range s.toKeep() {
		s.d.judge.Accept(s.ruling.Case(id), s.ruling.Findings[id])
	}
}

// give is the policy for a row that has to give up its value of a unique key: NULL where that can be, and where no CHECK
// looks at it.
func (d *database) give(rel *journal.Relation, u *journal.Unique) []int {
	columns := conflict.GiveNull(rel, u)
	var names []string
	for _, c := range columns {
		names = append(names, rel.Columns[c].Name)
	}
	if tab, err := d.table(rel); err != nil || len(tab.checked(names)) > 0 {
		return nil
	}
	return columns
}

// check is a conflict.Check by the tables of this database.
func (d *database) check(rel *journal.Relation, row conflict.Row) (bool, error) {
	tab, err := d.table(rel)
	var no *refusal
	if errors.As(err, &no) {
		return true, nil // it is gone
	}
	if err != nil {
		return false, err
	}
	if f := d.checker(tab); f != nil {
		return f(rel, row)
	}
	return true, nil
}
