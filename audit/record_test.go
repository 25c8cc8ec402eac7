package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgproxy/journal"
)

// goldenTransaction is the JSON that scripts outside this repository rely on.
const goldenTransaction = `{"origin":"a","seq":12,"hlc":"2026-01-31T12:00:00.000Z/0005","time":"2026-01-31T12:00:01Z","user":"alice","database":"shop",` +
	`"application":"till","client":"10.0.0.1:5","xid":99,"outcome":"committed","kind":"transaction","statements":[` +
	`{"query":"UPDATE stock SET qty = qty - 1 WHERE item = $1 AND qty > 0","params":["é<b>",null],"param_types":["text",""],"command":"UPDATE",` +
	`"tables":["public.stock"],"capture":"exact","rows":[{"op":"U","schema":"public","table":"stock","key":{"item":"apple"},` +
	`"before":{"item":"apple","qty":"3","note":null,"secret":{"redacted":true}},` +
	`"after":{"item":"apple","qty":"2","note":"","secret":{"redacted":true},"later":{"unchanged":true}},"delta":["qty"]}],` +
	`"rows_affected":1,"started":"2026-01-31T12:00:00Z","duration_us":1500,"class":"WRITE"}],"started":"2026-01-31T12:00:00Z",` +
	`"origin_id":"01000000000000000000000000000000","knew":{"b":7},"position":4}` + "\n"

func golden() Transaction {
	return NewTransaction(journal.Item{Position: 4, Record: txRecord(nodeA, 12), Outcome: journal.OutcomeCommitted}, (&fakeReader{}).Names())
}

func TestTransactionJSONIsStable(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, "json", 0)
	if err != nil {
		t.Fatal(err)
	}
	tx := golden()
	if err := w.Write(&tx); err != nil {
		t.Fatal(err)
	}
	if b.String() != goldenTransaction {
		t.Errorf("JSON changed:\n got %s\nwant %s", b.String(), goldenTransaction)
	}
}

func TestTransactionJSONRoundTrip(t *testing.T) {
	var back Transaction
	if err := json.Unmarshal([]byte(goldenTransaction), &back); err != nil {
		t.Fatal(err)
	}
	if want := golden(); !reflect.DeepEqual(back, want) {
		t.Errorf("got  %+v\nwant %+v", back, want)
	}
}

func TestRowSides(t *testing.T) {
	rel := journal.Relation{Schema: "s", Name: "t", Columns: []journal.Column{{Name: "id"}}, Key: []int{0}}
	for _, c := range []struct {
		name   string
		change journal.Change
		want   string
	}{
		{"insert", journal.Change{Op: journal.OpInsert, After: []journal.Value{journal.Text("1")}},
			`{"op":"I","schema":"s","table":"t","key":{"id":"1"},"before":null,"after":{"id":"1"}}`},
		{"delete", journal.Change{Op: journal.OpDelete, Before: []journal.Value{journal.Text("1")}, Cascade: true},
			`{"op":"D","schema":"s","table":"t","key":{"id":"1"},"before":{"id":"1"},"after":null,"cascade":true}`},
		{"update without before", journal.Change{Op: journal.OpUpdate, After: []journal.Value{journal.Text("1")}},
			`{"op":"U","schema":"s","table":"t","key":{"id":"1"},"after":{"id":"1"}}`},
		{"binary", journal.Change{Op: journal.OpInsert, After: []journal.Value{{Kind: journal.ValueBinary, Data: "\x00\xff"}}},
			`{"op":"I","schema":"s","table":"t","key":{"id":{"binary":"00ff"}},"before":null,"after":{"id":{"binary":"00ff"}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := newRow(&journal.Tx{Relations: []journal.Relation{rel}}, &c.change)
			b, err := marshal(row)
			if err != nil || string(b) != c.want {
				t.Fatalf("got %s, %v\nwant %s", b, err, c.want)
			}
			var back Row
			if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, row) {
				t.Errorf("read back %+v, %v; wrote %+v", back, err, row)
			}
		})
	}
}

func TestAttemptAndVoid(t *testing.T) {
	r := txRecord(nodeA, 0)
	r.Tx.Statements[0].SQLState, r.Tx.Statements[0].RowsAffected = "23505", -1
	tx := NewTransaction(journal.Item{Record: r, Outcome: journal.OutcomeAborted}, nil)
	if tx.Kind != "attempt" || tx.Origin != nodeA.String() || tx.Statements[0].RowsAffected != nil || !strings.HasSuffix(tx.ID(), "/-") {
		t.Errorf("attempt is shown as %+v", tx)
	}
	void := NewTransaction(journal.Item{Record: &journal.Record{ID: journal.ID{Origin: nodeB, Seq: 3}, Kind: journal.KindVoid}, Outcome: journal.OutcomeAborted}, (&fakeReader{}).Names())
	if void.Kind != "void" || void.ID() != "b/3" || void.Statements == nil {
		t.Errorf("void is shown as %+v", void)
	}
}

func FuzzTransactionJSON(f *testing.F) {
	f.Add([]byte(goldenTransaction))
	f.Add([]byte(`{"statements":[{"rows":[{"before":{"a":{"binary":"zz"}}}]}]}`))
	f.Add([]byte(`{"statements":[{"params":[{"redacted":true},7]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var tx Transaction
		if json.Unmarshal(b, &tx) != nil {
			return
		}
		once, err := marshal(&tx)
		if err != nil {
			return
		}
		var again Transaction
		if err := json.Unmarshal(once, &again); err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, once)
		}
		twice, err := marshal(&again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("second writing differs, %v:\n%s\n%s", err, once, twice)
		}
	})
}
