package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
)

const (
	// defaultScreen is how many transactions a table shows if nothing is said. Programs (json, csv) get all.
	defaultScreen = 50
	// defaultTail is how many a follower shows before it waits.
	defaultTail = 10
)

// listing is the flags of journal ls and tail.
type listing struct {
	c                     *cli
	dir                   *dataDir
	since, until, outcome string
	format                string
	limit                 int
	page                  uint64
	oldest                bool
	query                 admin.JournalQuery
}

func (c *cli) journalLs() *cobra.Command {
	l := &listing{c: c}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List transactions, newest first",
		Long: `List the transactions in this node's journal: its own and those of its peers, committed or not, newest first. Works while
the node runs and when it is stopped.

T is RFC 3339, a date with or without time (UTC), or a distance back such as 10m, 2h or 3d.`,
		Example: `  pgproxy journal ls --data-dir ./a
  pgproxy journal ls --data-dir ./a --table public.stock --since '1h ago' --outcome committed
  pgproxy journal ls --data-dir ./a --user alice -o json | jq .statements[].query
  pgproxy journal ls --data-dir ./a --follow`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context(), cmd.Flags()) },
	}
	l.bind(cmd.Flags())
	cmd.Flags().BoolVarP(&l.query.Follow, "follow", "f", false, "then show new transactions as they come")
	return cmd
}

func (c *cli) journalTail() *cobra.Command {
	l := &listing{c: c}
	l.query.Follow = true
	cmd := &cobra.Command{
		Use:     "tail",
		Short:   "Show transactions as they come (ls --follow)",
		Example: "  pgproxy journal tail --data-dir ./a\n  pgproxy journal tail --data-dir ./a --table stock -o json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context(), cmd.Flags()) },
	}
	l.bind(cmd.Flags())
	return cmd
}

func (l *listing) bind(fs *pflag.FlagSet) {
	fs.SortFlags = false
	l.dir = l.c.dataDir(fs)
	fs.StringVar(&l.since, "since", "", "not before `T`")
	fs.StringVar(&l.until, "until", "", "not after `T`")
	fs.StringVar(&l.query.User, "user", "", "of this login user")
	fs.StringVar(&l.query.Database, "database", "", "in this database")
	fs.StringVar(&l.query.Table, "table", "", "that touched this table: name or schema.name")
	fs.StringVar(&l.query.Origin, "origin", "", "written at this node")
	fs.StringVar(&l.outcome, "outcome", "", "committed, aborted or unknown")
	fs.IntVar(&l.limit, "limit", defaultScreen, "at most `N`; 0 is all, which is the default for json and csv")
	fs.Uint64Var(&l.page, "page", 0, "go on from this `position`, as the page before said")
	fs.BoolVar(&l.oldest, "oldest-first", false, "turn the order round")
	fs.BoolVar(&l.query.All, "all", false, "also records that are no transactions")
	l.c.formatFlag(fs, &l.format, audit.Formats...)
}

func (l *listing) run(ctx context.Context, fs *pflag.FlagSet) error {
	if err := l.complete(fs); err != nil {
		return err
	}
	w, err := audit.NewWriter(l.c.Stdout, l.format, l.c.columns(l.c.Stdout))
	if err != nil {
		return admin.Fail(admin.ExitUsage, "", "-o: %w", err)
	}
	out := &listed{w: w, limit: l.query.Limit, prompt: l.query.Follow}
	if l.query.Limit > 0 && !l.query.Follow {
		l.query.Limit++ // to know whether there are more
	}
	err = l.dir.read(ctx, func(client *admin.Client) error {
		return client.Journal(ctx, l.query, out.raw(l.format == "json", l.c.Stdout))
	}, func(r audit.Reader) error { return l.offline(ctx, r, out) })
	if errors.Is(err, syscall.EPIPE) || l.query.Follow && ctx.Err() != nil {
		return w.Flush() // the reader has seen enough
	}
	if err != nil {
		if out.shown > 0 {
			_ = w.Flush() // what came before the error is worth seeing; the error itself is told
		}
		return err
	}
	if err := w.End(); err != nil {
		return err
	}
	if out.more {
		fmt.Fprintf(l.c.Stderr, "-- %d shown; the next page: --page %d   all: --limit 0\n", out.limit, out.last)
	}
	return nil
}

// complete turns the flags' texts into the query.
func (l *listing) complete(fs *pflag.FlagSet) error {
	now := l.c.Now()
	for _, t := range []struct {
		flag, text string
		set        func() error
	}{
		{"since", l.since, func() (err error) { l.query.Since, err = audit.ParseWhen(l.since, now); return }},
		{"until", l.until, func() (err error) { l.query.Until, err = audit.ParseWhen(l.until, now); return }},
		{"outcome", l.outcome, func() error {
			o, err := audit.ParseOutcome(l.outcome)
			l.query.Outcome = &o
			return err
		}},
	} {
		if t.text == "" {
			continue
		}
		if err := t.set(); err != nil {
			return admin.Fail(admin.ExitUsage, "", "--%s: %w", t.flag, err)
		}
	}
	if l.limit < 0 {
		return admin.Fail(admin.ExitUsage, "", "--limit %d is negative", l.limit)
	}
	l.query.Limit, l.query.After, l.query.Forward = l.limit, l.page, l.oldest
	switch {
	case fs.Changed("limit"):
	case l.query.Follow:
		l.query.Limit = defaultTail
	case l.format != "table":
		l.query.Limit = 0
	}
	return nil
}

func (l *listing) offline(ctx context.Context, r journal.Reader, out *listed) error {
	if l.query.Follow {
		fmt.Fprintln(l.c.Stderr, "-- the node is stopped: nothing new will come")
		l.query.Follow = false
	}
	if l.query.Origin != "" && !knowsOrigin(r, l.query.Origin) {
		return admin.Fail(admin.ExitUsage, "", "--origin: this journal knows no node %q", l.query.Origin)
	}
	for t, err := range l.query.Run(r) {
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		t = l.dir.veil.Show(t).(audit.Transaction)
		if err := out.take(&t); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func knowsOrigin(r journal.Reader, origin string) bool {
	for id, name := range r.Names() {
		if name == origin || id.String() == origin {
			return true
		}
	}
	return false
}

// listed counts what was shown.
type listed struct {
	w      audit.Writer
	limit  int
	prompt bool
	shown  int
	last   uint64 // position of the last one shown
	more   bool
}

func (o *listed) take(t *audit.Transaction) error {
	if o.limit > 0 && o.shown == o.limit && !o.prompt {
		o.more = true
		return nil
	}
	o.shown++
	o.last = t.Position
	if err := o.w.Write(t); err != nil {
		return err
	}
	if o.prompt {
		return o.w.Flush()
	}
	return nil
}

// raw takes transactions as JSON; where JSON is wanted they go out as they came.
func (o *listed) raw(asIs bool, w io.Writer) func([]byte) error {
	return func(b []byte) error {
		var t audit.Transaction
		if asIs {
			var head struct{ Position uint64 }
			if err := json.Unmarshal(b, &head); err != nil {
				return err
			}
			if o.limit > 0 && o.shown == o.limit && !o.prompt {
				o.more = true
				return nil
			}
			o.shown++
			o.last = head.Position
			_, err := w.Write(append(b, '\n'))
			return err
		}
		if err := json.Unmarshal(b, &t); err != nil {
			return err
		}
		return o.take(&t)
	}
}
