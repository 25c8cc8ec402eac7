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
	tx := &journal.Tx{Database: "bank", Relations: []journal.Relation{{Schema: "public", Name: "c", Columns: []journal.Column{{Name: "id"}, {Name: "iban"}, {Name: "name"}, {Name: "note"}}}},
		Statements: []journal.Statement{{Changes: []journal.Change{{Op: journal.OpUpdate,
			Before: []journal.Value{journal.Text("1"), journal.Text("DE1"), journal.Null(), journal.Text("x")},
			After:  []journal.Value{journal.Text("1"), journal.Text("DE2"), journal.Text("Ann"), journal.Text("y")}}}}}}
	shown := p.Veil(tx, []byte("key"))
	c, old := shown.Statements[0].Changes[0], tx.Statements[0].Changes[0]
	if old.After[2] != journal.Text("Ann") || c.After[0] != journal.Text("1") || c.After[2].Kind != journal.ValueRedacted || c.Before[2] != journal.Null() ||
		c.After[3].Kind != journal.ValueAbsent || !strings.HasPrefix(c.After[1].Data, "hmac-sha256:") || c.After[1] == c.Before[1] {
		t.Errorf("%+v", c)
	}
	if other := p.Veil(tx, []byte("other")).Statements[0].Changes[0]; other.After[1] == c.After[1] {
		t.Error("the hash does not depend on the key")
	}
	if p.Veil(tx, nil).Statements[0].Changes[0].After[1].Kind != journal.ValueRedacted {
		t.Error("without a key it is redacted")
	}
	if !p.Masks("bank", []string{"public.c"}) || !p.Masks("x", []string{"c"}) || p.Masks("bank", []string{"public.d"}) {
		t.Error("Masks")
	}
	var none *Policy
	if none.Veil(tx, nil) != tx {
		t.Error("nothing is masked")
	}
}
