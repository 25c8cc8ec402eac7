package workload

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tables is what one node's database holds.
type Tables struct {
	Node    string
	Set     map[int64]string // id -> node that wrote it
	Gone    map[int64]bool
	Counter map[string]int64
	Sum     map[string]int64 // of the deltas, by counter
	Pair    map[int64]int64
	Beside  map[string]map[int64]int // what else stands there with an id, by kind of operation -> number
}

// ReadTables reads the lines that Dump gives, columns joined by |.
func ReadTables(node string, lines []string) (Tables, error) {
	t := Tables{Node: node, Set: map[int64]string{}, Gone: map[int64]bool{}, Counter: map[string]int64{}, Sum: map[string]int64{},
		Pair: map[int64]int64{}, Beside: map[string]map[int64]int{"keyless": {}, "large": {}, "ddl": {}}}
	for _, line := range lines {
		col := strings.SplitN(line, "|", 4)
		if len(col) < 4 {
			return t, fmt.Errorf("read dump: line %q", line)
		}
		id, err := strconv.ParseInt(col[1], 10, 64)
		if err != nil {
			return t, fmt.Errorf("read dump: line %q: %w", line, err)
		}
		switch number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }; col[0] {
		case "set":
			t.Set[id] = col[2]
		case "gone":
			t.Gone[id] = true
		case "counter":
			t.Counter[col[1]] = number(col[2])
		case "delta":
			t.Sum[col[2]] += number(col[3])
		case "pair":
			t.Pair[id] = number(col[2])
		case "keyless", "large":
			t.Beside[col[0]][id]++
		case "made":
			t.Beside["ddl"][id]++
		}
	}
	return t, nil
}

// CheckTables holds one node's tables against the ledger and lists what is wrong.
func CheckTables(l *Ledger, t Tables) []string {
	var wrong []string
	fail := func(format string, args ...any) {
		wrong = append(wrong, "node "+t.Node+": "+fmt.Sprintf(format, args...))
	}
	known := map[int64]bool{}
	for _, op := range l.Operations() {
		ids := append([]int64{op.ID}, op.More...)
		present := 0
		for _, id := range ids {
			known[id] = true
			if _, ok := t.Set[id]; ok {
				present++
			}
		}
		switch {
		case present != 0 && present != len(ids):
			fail("only part of it is there (%d of %d rows): %v", present, len(ids), op)
		case op.Outcome == Acked && present == 0:
			fail("LOST: acknowledged and not there: %v", op)
		case op.Outcome == Failed && present > 0:
			fail("PHANTOM: failed and there: %v", op)
		}
		for _, id := range op.Never {
			known[id] = true
			if _, ok := t.Set[id]; ok {
				fail("PHANTOM: row %d, rolled back to a savepoint: %v", id, op)
			}
		}
		if op.Deletes != 0 && (present > 0) == t.Gone[op.Deletes] {
			fail("row %d of w_gone, there: %v, and its delete: %v", op.Deletes, t.Gone[op.Deletes], op)
		}
		if beside, has := t.Beside[op.Kind]; has && beside[op.ID] != present {
			fail("only part of it is there (%d in w_set, %d beside): %v", present, beside[op.ID], op)
		}
	}
	for id, node := range t.Set {
		if !known[id] {
			fail("PHANTOM: row %d from %s, of no operation", id, node)
		}
	}
	wrong = append(wrong, checkTogether(t)...)
	slices.Sort(wrong)
	return wrong
}

// checkTogether checks what must hold within a node's tables at any moment.
func checkTogether(t Tables) []string {
	var wrong []string
	for id, n := range t.Counter {
		if t.Sum[id] != n {
			wrong = append(wrong, fmt.Sprintf("node %s: counter %s is %d, the sum of its deltas %d", t.Node, id, n, t.Sum[id]))
		}
	}
	for id := int64(1); id < 2*Pairs; id += 2 {
		if t.Pair[id] != t.Pair[id+1] {
			wrong = append(wrong, fmt.Sprintf("node %s: pair %d has two tokens: %d, %d", t.Node, id, t.Pair[id], t.Pair[id+1]))
		}
	}
	return wrong
}
