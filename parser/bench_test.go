package parser

import (
	"fmt"
	"strings"
	"testing"
)

// pgbench holds the statements of pgbench's TPC-B script as simple mode sends them, with a number to fill in.
var pgbench = []struct{ name, text string }{
	{"begin", "BEGIN;"},
	{"update", "UPDATE pgbench_accounts SET abalance = abalance + -%[1]d WHERE aid = %[1]d;"},
	{"select", "SELECT abalance FROM pgbench_accounts WHERE aid = %[1]d;"},
	{"insert", "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (%[1]d, 1, %[1]d, -%[1]d, CURRENT_TIMESTAMP);"},
}

const orm = `SELECT "u"."id", "u"."name", "u"."email", count(o.id) AS n FROM "users" AS "u" LEFT JOIN orders o ON o.user_id = u.id
	AND o.state IN ('a','b','c') WHERE u.created > now() - interval '1 day' AND (u.name LIKE $1 OR u.email = $2)
	GROUP BY 1,2,3 HAVING count(o.id) > 3 ORDER BY n DESC NULLS LAST LIMIT 50 OFFSET $3`

// BenchmarkHit is a text that is in the cache: what prepared statements and repeated texts cost.
func BenchmarkHit(b *testing.B) {
	p := New(Options{})
	for _, text := range []string{fmt.Sprintf(pgbench[1].text, 5), orm} {
		p.Parse(text)
		p.Parse(text)
		b.Run(fmt.Sprintf("%dB", len(text)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Parse(text)
			}
		})
	}
}

// BenchmarkHitParallel is the same from all cores at once.
func BenchmarkHitParallel(b *testing.B) {
	p := New(Options{})
	text := fmt.Sprintf(pgbench[1].text, 5)
	p.Parse(text)
	p.Parse(text)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Parse(text)
		}
	})
}

// BenchmarkShape is a text that was never seen, of a shape that was: values inlined by the client.
func BenchmarkShape(b *testing.B) {
	for _, q := range pgbench[1:] {
		b.Run(q.name, func(b *testing.B) {
			p := New(Options{})
			texts := make([]string, 10_000)
			for i := range texts {
				texts[i] = fmt.Sprintf(q.text, i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				p.read(texts[i%len(texts)])
			}
		})
	}
}

// BenchmarkMiss is a text of a new shape: what libpg_query and the reading of its tree cost.
func BenchmarkMiss(b *testing.B) {
	texts := map[string]string{"orm": orm}
	for _, q := range pgbench {
		texts[q.name] = q.text
		if strings.Contains(q.text, "%") {
			texts[q.name] = fmt.Sprintf(q.text, 5)
		}
	}
	for name, text := range texts {
		b.Run(name, func(b *testing.B) {
			p := New(Options{})
			b.ReportAllocs()
			for b.Loop() {
				if s := readWhole(p, text); s.Unread != nil {
					b.Fatal(s.Unread)
				}
			}
		})
	}
}

// BenchmarkLoad is a bulk INSERT of 1 MiB.
func BenchmarkLoad(b *testing.B) {
	text := "INSERT INTO t VALUES " + strings.Repeat("(123456,'some text here',NULL,-1.5),", 30_000) + "(1,'x',NULL,1.5)"
	p := New(Options{})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if s, _ := p.read(text); s.Unread != nil {
			b.Fatal(s.Unread)
		}
	}
}
