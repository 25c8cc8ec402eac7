package command

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

// undoing is one run of audit undo.
type undoing struct {
	*asking
	apply   bool
	connect string
	plan    *audit.UndoPlan
	csv     *csv.Writer
	applied *undoConn
	count   int
}

func (c *cli) auditUndo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undo ORIGIN/SEQ[..SEQ]...",
		Short: "The SQL that takes committed transactions back; with --apply, do it",
		Long: `Print the SQL that takes committed transactions back, the newest change first, for a person to read. Each statement finds its row
only as the transaction left it, and the comment behind it says what the database must answer; any other answer means that
somebody has changed the row since.

With --apply the statements are run as one transaction through this node's proxy, as any client's: journaled and replicated, and
shown by the journal as undo of what it takes back. Nothing is undone unless all of it can be. An undo is undone like anything else.

What happens where later transactions changed the same columns or rows is said by --mode:
  refuse       nothing is undone; they are listed (exit code 3)
  cascade      they are undone too, whole, and what depends on them
  force        what they made of it is overwritten
  nonconflict  rows that they changed are left out
Additions (SET n = n + 1) are in nobody's way: each is taken back on its own. Rows that others added and that refer to a row which
the undo removes are an error of the database, or, where the foreign key would delete them along, of this command.`,
		Example: `  pgproxy audit undo --data-dir ./a a/12
  pgproxy audit undo --data-dir ./a a/12..17 --mode cascade
  pgproxy audit undo --data-dir ./a a/12 --apply --connect 'user=alice password=secret'`,
		Args: cobra.MinimumNArgs(1),
	}
	u := &undoing{asking: c.asking(cmd.Flags(), audit.VerbUndo, "sql", "json", "csv")}
	fs := cmd.Flags()
	u.q.Mode = audit.UndoRefuse
	fs.Var(&choice{&u.q.Mode, audit.UndoModes()}, "mode", strings.Join(audit.UndoModes(), ", "))
	fs.BoolVar(&u.apply, "apply", false, "do it, through this node's proxy")
	fs.StringVar(&u.connect, "connect", "", "with --apply: how to log in at the proxy, as libpq takes it; host, port and dbname are known")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		u.q.Targets = args
		return u.run(cmd.Context())
	}
	return cmd
}

func (u *undoing) run(ctx context.Context) error {
	if u.format == "csv" {
		u.csv = csv.NewWriter(u.c.Stdout)
		if err := u.csv.Write([]string{"undoes", "expect", "sql"}); err != nil {
			return err
		}
	}
	defer func() { u.applied.close() }()
	if err := u.ask(ctx, func(raw []byte) error { return u.item(ctx, raw) }); err != nil {
		return err
	}
	if u.csv != nil {
		u.csv.Flush()
		if err := u.csv.Error(); err != nil {
			return err
		}
	}
	if u.plan.Blocked {
		return auditFail(admin.AuditGap, "--mode cascade undoes what depends on it too, force overwrites it, nonconflict leaves it out",
			"nothing is undone: %s", blockText(u.plan))
	}
	if !u.apply {
		if u.format == "sql" {
			_, err := fmt.Fprintln(u.c.Stdout, "COMMIT;")
			return err
		}
		return nil
	}
	if u.count == 0 {
		return auditFail(admin.AuditNothing, "", "there is nothing to undo: later changes have left nothing of it, or all of it is left out")
	}
	return u.finish(ctx)
}

// item takes the plan, then the statements.
func (u *undoing) item(ctx context.Context, raw []byte) error {
	if u.format == "json" {
		if err := writeLine(u.c.Stdout, bytes.Clone(raw)); err != nil {
			return err
		}
	}
	if u.plan == nil {
		u.plan = &audit.UndoPlan{}
		if err := json.Unmarshal(raw, u.plan); err != nil {
			return err
		}
		return u.begin(ctx)
	}
	var s audit.UndoStatement
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	u.count++
	switch u.format {
	case "sql":
		if _, err := fmt.Fprintf(u.c.Stdout, "%s  -- %s\n", s.SQL, s.Expect); err != nil {
			return err
		}
	case "csv":
		if err := u.csv.Write([]string{audit.Harmless(s.Undoes), s.Expect, audit.Harmless(s.SQL)}); err != nil {
			return err
		}
	}
	if u.applied == nil {
		return nil
	}
	return u.applied.run(ctx, &s, u.q.Mode == audit.UndoForce)
}

// begin tells the plan and, if it shall be done, opens the transaction.
func (u *undoing) begin(ctx context.Context) error {
	if u.format == "sql" {
		if err := planText(u.c.Stdout, u.plan); err != nil {
			return err
		}
	}
	if u.plan.Blocked || !u.apply {
		return nil
	}
	dsn, err := u.login(ctx)
	if err != nil {
		return err
	}
	u.applied, err = openUndo(ctx, dsn, u.plan.Database)
	return err
}

// login gives the connection string for this node's proxy.
func (u *undoing) login(ctx context.Context) (string, error) {
	client, err := u.dir.running()
	if err != nil {
		return "", err
	}
	s, _, err := client.Status(ctx)
	if err != nil {
		return "", err
	}
	if len(s.Listen) == 0 {
		return "", auditFail(admin.AuditError, "", "node %s takes no clients yet", s.Node)
	}
	return dsnOf(s.Listen[0], u.connect)
}

func (u *undoing) finish(ctx context.Context) error {
	if err := u.applied.commit(ctx); err != nil {
		return err
	}
	found := ""
	q := &asking{c: u.c, dir: u.dir, quiet: true, q: audit.Question{Verb: audit.VerbList, Database: u.plan.Database, Limit: 1, Outcome: "committed",
		Text: audit.UndoMark + u.plan.Undoes[0].Record + " */"}}
	err := q.ask(ctx, func(raw []byte) error {
		var t audit.Transaction
		err := json.Unmarshal(raw, &t)
		found = t.ID()
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(u.c.Stderr, "undone by %s: %s\n", found, counted(u.count, "row change"))
	return err
}

// planText writes the plan as comments of SQL.
func planText(w io.Writer, p *audit.UndoPlan) error {
	var b strings.Builder
	for _, a := range p.Undoes {
		added := ""
		for _, r := range p.Added {
			if r == a.Record {
				added = ", because it depends on what is undone"
			}
		}
		fmt.Fprintf(&b, "-- undo of %s: %s, %s%s\n", a.Record, audit.Line(a.User), a.Time.UTC().Format(clock), added)
	}
	for _, c := range p.Cannot {
		fmt.Fprintf(&b, "-- CANNOT BE UNDONE: %s\n", audit.Line(c))
	}
	for _, d := range p.Later {
		fmt.Fprintf(&b, "-- changed since %s: %s by %s, %s, %s: %s\n", d.Undone, audit.Line(d.Row), d.Record, audit.Line(d.User), d.Time.UTC().Format(clock), audit.Line(d.Query))
	}
	if !p.Blocked {
		fmt.Fprintf(&b, "-- in database %s; the comment behind a statement is the answer that it must get\nBEGIN;\n", audit.Line(p.Database))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// blockText says what stands in the way of an undo.
func blockText(p *audit.UndoPlan) string {
	if len(p.Cannot) > 0 {
		return strings.Join(p.Cannot, "; ")
	}
	d := p.Later[0]
	text := fmt.Sprintf("%s was changed by %s (%s) after %s", d.Row, d.Record, d.User, d.Undone)
	if n := len(p.Later) - 1; n > 0 {
		text += fmt.Sprintf(", and %s more", counted(n, "change"))
	}
	return audit.Line(text)
}

// dsnOf puts the address of a listener before what a person gave.
func dsnOf(listen, connect string) (string, error) {
	if strings.Contains(connect, "://") {
		return connect, nil
	}
	host, port, err := splitListen(listen)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("host=%s port=%s sslmode=prefer application_name=pgproxy-undo %s", host, port, connect), nil
}

// splitListen gives host and port, for libpq, of what clients can reach: of a socket its folder.
func splitListen(listen string) (host, port string, err error) {
	if i := strings.LastIndex(listen, "/.s.PGSQL."); i >= 0 {
		return listen[:i], listen[i+len("/.s.PGSQL."):], nil
	}
	i := strings.LastIndexByte(listen, ':')
	if i < 0 || strings.ContainsRune(listen, os.PathSeparator) {
		return "", "", auditFail(admin.AuditError, "", "--connect must name host and port: the node listens on %s", listen)
	}
	host = strings.Trim(listen[:i], "[]")
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return host, listen[i+1:], nil
}
