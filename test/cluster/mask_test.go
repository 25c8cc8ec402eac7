package cluster

import (
	"strings"
	"testing"

	"pgproxy/test/harness"
)

// TestMaskedColumnsAreNotShown: what the policy masks is in no answer, whether the node runs or its files are read; the same value
// has the same hash; the values reach the peer.
func TestMaskedColumnsAreNotShown(t *testing.T) {
	c := harness.NewCluster(t, harness.ClusterOptions{Nodes: 2, Args: []string{"--audit-mask", "public.m.iban=hash", "--audit-mask", "public.m.name=mask",
		"--audit-mask", "*.m.note=omit"}})
	a, b := c.Nodes[0], c.Nodes[1]
	for _, sql := range []string{"CREATE TABLE m (id int PRIMARY KEY, iban text, name text, note text, city text)",
		"INSERT INTO m VALUES (1, 'IBANSECRET', 'NAMESECRET', 'NOTESECRET', 'Lyon'), (2, 'IBANSECRET', 'NAMESECRET', 'NOTESECRET', 'Nice')",
		"UPDATE m SET name = 'NAMESECRET2' WHERE id = 1"} {
		harness.Query(t, a.DSN("postgres"), sql)
	}
	c.Drain(drainTime)
	if got := strings.Join(harness.Query(t, b.DSN("postgres"), "SELECT iban || name || note FROM m ORDER BY id"), " "); got != "IBANSECRETNAMESECRET2NOTESECRET IBANSECRETNAMESECRETNOTESECRET" {
		t.Errorf("on the peer: %s", got)
	}
	ask := func() {
		t.Helper()
		for _, n := range c.Nodes {
			for _, args := range [][]string{{"journal", "ls", "-o", "json"}, {"journal", "ls", "-o", "csv"}, {"journal", "show", "a/2"}, {"audit", "ls", "-o", "json"},
				{"audit", "history", "m", "1", "-o", "json"}, {"audit", "blame", "m", "1", "-o", "json"}, {"audit", "diff", "--from", "1h", "-o", "json"},
				{"audit", "export", "--format", "debezium"}, {"audit", "export", "--format", "logged_actions"}} {
				r := n.Run(args...)
				if strings.Contains(r.Stdout, "SECRET") {
					t.Errorf("%s: %q shows a masked value: %s", n.Name, args, r.Stdout)
				}
				if args[1] == "ls" && (!strings.Contains(r.Stdout, "Lyon") || strings.Contains(r.Stdout, `"note"`)) {
					t.Errorf("%s: %q: %s %s", n.Name, args, r.Stdout, r.Stderr)
				}
			}
			r := n.Run("audit", "ls", "-o", "json")
			_, rest, _ := strings.Cut(r.Stdout, "hmac-sha256:")
			if hash := rest[:min(64, len(rest))]; len(hash) < 64 || strings.Count(r.Stdout, hash) < 2 {
				t.Errorf("%s: hash %q in %s", n.Name, hash, r.Stdout)
			}
		}
	}
	ask()
	for _, n := range c.Nodes {
		n.Stop()
	}
	ask()
}
