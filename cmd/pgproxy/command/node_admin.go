package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/forward"
)

var _ admin.Node = (*node)(nil)

// Journal implements admin.Node.
func (n *node) Journal() audit.Reader { return n.journal }

// Fold implements admin.Node.
func (n *node) Fold() audit.NewFold { return NewFold() }

// Veil implements admin.Node.
func (n *node) Veil() *audit.Veil { return n.veil }

// Wake implements admin.Node.
func (n *node) Wake() (<-chan struct{}, func()) { return n.journal.Watch() }

// starting is the answer to what needs the rooms before they are made.
func (n *node) starting() error {
	if n.state.Load() == "starting" {
		return admin.Fail(admin.ExitUnreachable, "try again in a moment", "node %s is still starting", n.set.Node)
	}
	return nil
}

// Explain implements admin.Node.
func (n *node) Explain(ctx context.Context, q admin.ExplainQuery, report func(any) error) error {
	if err := n.starting(); err != nil {
		return err
	}
	if q.Database == "" {
		q.Database = n.upstream.config.Database
	}
	all, err := n.server.Explain(ctx, q.Database, q.User, q.SQL)
	for i := range all {
		if err := report(&all[i]); err != nil {
			return err
		}
	}
	return err
}

// Doctor implements admin.Node.
func (n *node) Doctor(ctx context.Context, database string, report func(admin.Finding) error) error {
	if err := n.starting(); err != nil {
		return err
	}
	return n.upstream.examine(ctx, database, func(f *admin.Finding) error { return report(*f) })
}

// Verify implements admin.Node.
func (n *node) Verify(ctx context.Context, database, table string, report func(admin.VerifyProgress) error) error {
	if err := n.starting(); err != nil {
		return err
	}
	var different, unreachable, failed []string
	for r := range n.forwarder.Verify(ctx, forward.VerifyOptions{Database: database, Table: table}) {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := verifyProgress(&r)
		if err := report(p); err != nil {
			return err
		}
		what := strings.TrimSpace(p.Database + " " + p.Table + " with " + r.Peer)
		switch {
		case p.Unreachable:
			unreachable = append(unreachable, r.Peer)
		case r.Err != nil:
			failed = append(failed, what+": "+r.Err.Error())
		case !r.Equal():
			different = append(different, what)
		}
	}
	switch {
	case len(different) > 0:
		return admin.Fail(admin.ExitDifference, "", "different: %s", strings.Join(different, "; "))
	case len(unreachable) > 0:
		return admin.Fail(admin.ExitUnreachable, "pgproxy status --data-dir "+n.set.DataDir+" shows the links", "not reachable: %s", strings.Join(unreachable, ", "))
	case len(failed) > 0:
		return admin.Fail(admin.ExitError, "", "not compared: %s", strings.Join(failed, "; "))
	}
	return nil
}

func verifyProgress(r *forward.VerifyResult) admin.VerifyProgress {
	p := admin.VerifyProgress{Database: r.Database, Peer: r.Peer, Equal: r.Equal(), Rows: r.Rows, More: r.More, Reason: r.Problem,
		Unreachable: errors.Is(r.Err, forward.ErrUnreachable)}
	if r.Table != "" {
		p.Table = r.Schema + "." + r.Table
	}
	if r.Err != nil {
		p.Error = r.Err.Error()
	}
	for _, d := range r.Differences {
		p.Differences = append(p.Differences, admin.KeyDiff{Key: keyText(d.Key), What: whereText(d)})
	}
	return p
}

// keyText writes a row's key as column=value, columns in order of their names.
func keyText(key map[string]string) string {
	var parts []string
	for c, v := range key {
		if c == "" {
			return v
		}
		parts = append(parts, c+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func whereText(d forward.Difference) string {
	switch {
	case d.Where == "both":
		return "differs"
	case d.Count > 1 || d.Count < -1:
		return fmt.Sprintf("%d times only %s", max(d.Count, -d.Count), d.Where)
	}
	return "only " + d.Where
}
