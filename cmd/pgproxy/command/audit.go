package command

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

func (c *cli) audit() *cobra.Command {
	return c.auditGroup(c.auditLs(), c.auditTail(), c.auditShow(), c.auditSession(), c.auditLogons(), c.auditStats(), c.auditHistory(), c.auditBlame(),
		c.auditDiff(), c.auditUndo(), c.auditExport(), c.auditVerify(), c.auditProve(),
		c.auditCheckpoint(), c.auditTrust(), c.auditPurge())
}

// auditGroup is the audit commands. They have exit codes of their own (admin.AuditError and its neighbours): a child says one by
// auditFail; whatever else goes wrong in it is AuditError, damage AuditTampered.
func (c *cli) auditGroup(children ...*cobra.Command) *cobra.Command {
	for _, child := range children {
		if run := child.RunE; run != nil {
			child.RunE = func(cmd *cobra.Command, args []string) error { return auditExit(run(cmd, args)) }
		}
	}
	return group(&cobra.Command{
		Use:   "audit",
		Short: "Who changed what, when, how and from where; what came to nothing too",
		Long: `Ask the journal as an auditor does. Every command works while the node runs (over its admin socket) and when it is stopped (on
its files). A time T is RFC 3339, a date with or without time (UTC), or a distance back such as 10m, 2h or 3d.

Exit codes: 0 ok, 1 usage, or input and output, 2 the journal is not as it was written, 3 something is missing, or was not done
whole, 4 nothing matched.`,
		Example: `  pgproxy audit ls --data-dir ./a --table public.stock --key apple
  pgproxy audit blame --data-dir ./a public.stock apple
  pgproxy audit stats --data-dir ./a --since 1d`,
	}, children...)
}

// decided is an error that has its exit code already.
type decided struct{ e *admin.Error }

func (d decided) Error() string { return d.e.Message }
func (d decided) Unwrap() error { return d.e }

// auditFail makes an error with one of the exit codes of the audit commands.
func auditFail(code int, hint, format string, args ...any) error {
	return decided{admin.Fail(code, hint, format, args...)}
}

// auditExit gives an error of an audit command its exit code.
func auditExit(err error) error {
	var d decided
	if err == nil || errors.As(err, &d) || errors.Is(err, context.Canceled) {
		return err
	}
	e := *admin.AsError(err)
	if e.Code = admin.AuditError; admin.AsError(err).Code == admin.ExitDifference {
		e.Code = admin.AuditTampered
	}
	return decided{&e}
}

// asking is a question to a journal with its flags.
type asking struct {
	c             *cli
	dir           *dataDir
	format        string
	q             audit.Question
	since, until  string
	given         int
	quiet         bool // nothing matched is no failure
	beforeOffline func()
}

func (c *cli) asking(fs *pflag.FlagSet, verb string, formats ...string) *asking {
	fs.SortFlags = false
	a := &asking{c: c, dir: c.dataDir(fs), q: audit.Question{Verb: verb}}
	if len(formats) == 0 {
		formats = audit.Formats
	}
	c.formatFlag(fs, &a.format, formats...)
	return a
}

// span adds the flags of a span of time.
func (a *asking) span(fs *pflag.FlagSet) {
	fs.StringVar(&a.since, "since", "", "not before `T`")
	fs.StringVar(&a.until, "until", "", "not after `T`")
}

// times turns the texts of times into the question's.
func (a *asking) times() error {
	for _, t := range []struct {
		flag, text string
		to         **time.Time
	}{{"since", a.since, &a.q.Since}, {"until", a.until, &a.q.Until}} {
		if t.text == "" {
			continue
		}
		at, err := audit.ParseWhen(t.text, a.c.Now())
		if err != nil {
			return auditFail(admin.AuditError, "", "--%s: %w", t.flag, err)
		}
		*t.to = &at
	}
	return nil
}

// ask calls give with the JSON of each item of the answer, over the socket or from the files.
func (a *asking) ask(ctx context.Context, give func(raw []byte) error) error {
	var refused error // by give: it is no error of the journal's
	take := func(raw []byte) error {
		a.given++
		refused = give(raw)
		return refused
	}
	final := func(err error) error {
		switch {
		case err == nil, refused != nil, errors.Is(err, admin.ErrNotRunning), errors.Is(err, context.Canceled):
			return err
		}
		return decided{admin.AuditFailure(err)}
	}
	err := a.dir.read(ctx, func(client *admin.Client) error {
		return final(client.Audit(ctx, a.q, take))
	}, func(r audit.Reader) error {
		if a.beforeOffline != nil {
			a.beforeOffline()
		}
		return final(audit.Answer(ctx, r, a.q, audit.Aid{Now: a.c.Now, Fold: NewFold()}, func(v any) error {
			raw, err := encodeLine(a.dir.veil.Show(v))
			if err != nil {
				return err
			}
			return take(raw)
		}))
	})
	if err == nil && a.given == 0 && !a.quiet {
		return auditFail(admin.AuditNothing, "", "nothing matched")
	}
	return err
}

// grid is how a kind of item is shown in a table or as CSV.
type grid struct {
	heads []audit.Head
	rows  func(raw []byte) ([][]string, error)
}

// show asks and writes the answer in the format that was chosen: JSON as it comes, else as a grid.
func (a *asking) show(ctx context.Context, g grid) error {
	switch a.format {
	case "json":
		return a.ask(ctx, func(raw []byte) error { return writeLine(a.c.Stdout, raw) })
	case "csv":
		return a.showCSV(ctx, g)
	}
	t := audit.NewTable(a.c.Stdout, g.heads...)
	err := a.ask(ctx, func(raw []byte) error {
		rows, err := g.rows(raw)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := t.Row(r...); err != nil {
				return err
			}
		}
		return nil
	})
	if a.given == 0 {
		return err
	}
	return errors.Join(err, t.End())
}

func (a *asking) showCSV(ctx context.Context, g grid) error {
	w := csv.NewWriter(a.c.Stdout)
	head := make([]string, len(g.heads))
	for i, h := range g.heads {
		head[i] = h.Name
	}
	if err := w.Write(head); err != nil {
		return err
	}
	err := a.ask(ctx, func(raw []byte) error {
		rows, err := g.rows(raw)
		if err != nil {
			return err
		}
		for _, r := range rows {
			for i := range r {
				r[i] = audit.Harmless(r[i])
			}
			if err := w.Write(r); err != nil {
				return err
			}
		}
		return nil
	})
	w.Flush()
	return errors.Join(err, w.Error())
}

// gridOf makes a grid of a function of the decoded item.
func gridOf[T any](row func(*T) [][]string, heads ...audit.Head) grid {
	return grid{heads, func(raw []byte) ([][]string, error) {
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		return row(&v), nil
	}}
}

func heads(names ...string) []audit.Head {
	out := make([]audit.Head, len(names))
	for i, n := range names {
		out[i] = audit.Head{Name: n}
	}
	return out
}

func writeLine(w io.Writer, raw []byte) error {
	_, err := w.Write(append(raw, '\n'))
	if errors.Is(err, syscall.EPIPE) {
		return context.Canceled // the reader has seen enough
	}
	return err
}
