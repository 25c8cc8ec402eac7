package audit

import (
	"strings"
	"testing"

	"pgproxy/journal"
)

func policy(t *testing.T, s PolicySettings) *Policy {
	t.Helper()
	p, err := NewPolicy(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPolicy: classes, include over them, exclude over both; by database, schema, table, user, role, application, client.
func TestPolicy(t *testing.T) {
	p := policy(t, PolicySettings{
		Classes: []string{"write", "session"},
		Include: []string{"class=READ table=public.salary role=hr_*", "class=ddl database=shop"},
		Exclude: []string{"schema=log", "application=monitor* class=SESSION", "user=batch client=10.0.0.*"},
	})
	for _, c := range []struct {
		s    Subject
		want bool
	}{
		{Subject{Class: "WRITE", Tables: []string{"public.t"}}, true},
		{Subject{Class: "WRITE", Tables: []string{"log.t"}}, false},
		{Subject{Class: "WRITE", Tables: []string{"log.t", "public.t"}}, true},
		{Subject{Class: "WRITE", Tables: []string{"t"}}, true},
		{Subject{Class: "WRITE"}, true},
		{Subject{Class: "READ", Role: "hr_1", Tables: []string{"public.salary"}}, true},
		{Subject{Class: "READ", Role: "hr_1", Tables: []string{"salary"}}, true},
		{Subject{Class: "READ", Role: "hr_1", Tables: []string{"other.salary"}}, false},
		{Subject{Class: "READ", Role: "ann", Tables: []string{"public.salary"}}, false},
		{Subject{Class: "DDL", Database: "shop"}, true},
		{Subject{Class: "DDL", Database: "bank"}, false},
		{Subject{Class: "SESSION", Application: "psql"}, true},
		{Subject{Class: "SESSION", Application: "monitor/1"}, false},
		{Subject{Class: "WRITE", User: "batch", Client: "10.0.0.9"}, false},
		{Subject{Class: "WRITE", User: "batch", Client: "10.0.1.9"}, true},
	} {
		if got := p.Records(&c.s); got != c.want {
			t.Errorf("%+v: %v", c.s, got)
		}
	}
	if !p.MayRecord(journal.ClassRead) || !p.MayRecord(journal.ClassDDL) || p.MayRecord(journal.ClassMisc) {
		t.Error("MayRecord")
	}
	again, err := ParsePolicy(p.String())
	if err != nil || again.String() != p.String() {
		t.Errorf("%v\n%s\n%s", err, p, again)
	}
	var none *Policy
	if !none.Records(&Subject{Class: "WRITE"}) || none.Records(&Subject{Class: "READ"}) || none.MayRecord(journal.ClassRead) || none.String() != policy(t, PolicySettings{}).String() {
		t.Error("the default policy")
	}
}

// TestPolicyMistakes: every mistake is named.
func TestPolicyMistakes(t *testing.T) {
	_, err := NewPolicy(PolicySettings{Classes: []string{"WRITES"}, Include: []string{"tabel=x"}, Exclude: []string{"table=[", ""}, Mask: []string{"a.b=mask", "a.b.c=hide"}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"WRITES", "tabel", "table=[", "empty", "a.b=mask", "a.b.c=hide"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

// TestVeil: masked, hashed, omitted; the original stays; NULL stays NULL.
func TestVeil(t *testing.T) {
	p := policy(t, PolicySettings{Mask: []string{"bank/public.c.iban=hash", "*.c.name=mask", "public.c.note=omit"}})
	row := func(iban string, name Value) *Columns {
		return &Columns{{"id", Value(journal.Text("1"))}, {"iban", Value(journal.Text(iban))}, {"name", name}, {"note", Value(journal.Text("x"))}}
	}
	tx := Transaction{Database: "bank", Statements: []Statement{{Rows: []Row{{Op: "U", Schema: "public", Table: "c",
		Before: row("DE1", Value(journal.Null())), After: row("DE2", Value(journal.Text("Ann")))}}}}}
	shown := func(key string) (before, after Columns) {
		r := NewVeil(p, []byte(key)).Show(tx).(Transaction).Statements[0].Rows[0]
		return *r.Before, *r.After
	}
	before, after := shown("key")
	if len(after) != 3 || after[0].Value.Data != "1" || !strings.HasPrefix(after[1].Value.Data, "hmac-sha256:") || after[1] == before[1] ||
		after[2].Value.Kind != journal.ValueRedacted || before[2].Value.Kind != journal.ValueNull {
		t.Errorf("%+v %+v", before, after)
	}
	if _, other := shown("other"); other[1] == after[1] {
		t.Error("the hash does not depend on the key")
	}
	if _, none := shown(""); none[1].Value.Kind != journal.ValueRedacted {
		t.Error("without a key it is redacted")
	}
	if (*tx.Statements[0].Rows[0].After)[2].Value.Data != "Ann" {
		t.Error("the original was changed")
	}
	if !p.Masks("bank", []string{"public.c"}) || !p.Masks("x", []string{"c"}) || p.Masks("bank", []string{"public.d"}) {
		t.Error("Masks")
	}
	if NewVeil(policy(t, PolicySettings{}), nil) != nil || NewVeil(nil, nil) != nil {
		t.Error("a veil that hides nothing")
	}
}
