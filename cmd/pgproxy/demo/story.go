package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

// arriveTimeout is how long a write may take to reach the other nodes.
const arriveTimeout = 20 * time.Second

// tableQuery shows the whole table of the story.
const tableQuery = "SELECT item, qty, price, note FROM stock ORDER BY item"

func (d *demo) story(ctx context.Context) error {
	for _, part := range []func(context.Context) error{
		d.writeOnEach, d.cutOff, d.writeOnAllSides, d.showQueue, d.rejoin, d.compare, d.showClash,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) writeOnEach(ctx context.Context) error {
	a, b, c := d.nodes[0], d.nodes[1], d.nodes[2]
	d.heading("A write on each host reaches the others")
	if err := d.run(ctx, a, "postgres",
		"CREATE TABLE stock (item text PRIMARY KEY, qty int NOT NULL CHECK (qty >= 0), price numeric(8,2), note text)",
		"CREATE ROLE alice LOGIN", "CREATE ROLE bob LOGIN", "CREATE ROLE carol LOGIN",
		"GRANT ALL ON stock TO alice, bob, carol"); err != nil {
		return err
	}
	for _, n := range []*node{b, c} {
		if err := d.arrived(ctx, n, "SELECT pg_catalog.has_table_privilege('carol', 'stock', 'INSERT')::text", "true"); err != nil {
			return err
		}
	}
	for _, w := range []struct {
		n          *node
		user, text string
	}{
		{a, "alice", "INSERT INTO stock VALUES ('apple', 10, 0.50, 'crate')"},
		{b, "bob", "INSERT INTO stock VALUES ('bread', 20, 3.20, 'fresh')"},
		{c, "carol", "INSERT INTO stock VALUES ('cheese', 5, 9.90, NULL)"},
	} {
		if err := d.run(ctx, w.n, w.user, w.text); err != nil {
			return err
		}
	}
	for _, n := range d.nodes {
		if err := d.arrived(ctx, n, "SELECT count(*)::text FROM stock", "3"); err != nil {
			return err
		}
	}
	return d.query(ctx, b, "bob", tableQuery)
}

func (d *demo) cutOff(ctx context.Context) error {
	d.heading("The network of c is cut")
	d.setCut(true)
	c := d.nodes[2]
	client := admin.NewClient(c.dataDir)
	err := until(ctx, arriveTimeout, "c notices", func() error {
		s, _, err := client.Status(ctx)
		if err != nil {
			return err
		}
		for _, p := range s.Peers {
			if p.Connected {
				return fmt.Errorf("its link to %s stands", p.Name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(d.Out, "  clients ── pgproxy c ── PostgreSQL c        (a and b are out of reach)")
	return nil
}

func (d *demo) writeOnAllSides(ctx context.Context) error {
	a, b, c := d.nodes[0], d.nodes[1], d.nodes[2]
	d.heading("Work goes on, on all sides")
	for _, w := range []struct {
		n                *node
		user, text, what string
	}{
		{a, "alice", "UPDATE stock SET price = 0.55 WHERE item = 'apple'", "one row, different columns"},
		{c, "carol", "UPDATE stock SET note = 'organic' WHERE item = 'apple'", ""},
		{b, "bob", "UPDATE stock SET qty = qty - 3 WHERE item = 'bread'", "both sell bread"},
		{c, "carol", "UPDATE stock SET qty = qty - 1 WHERE item = 'bread'", ""},
		{c, "carol", "UPDATE stock SET note = 'reserved for Mr. Wong' WHERE item = 'cheese'", "a clash: one column"},
		{a, "alice", "UPDATE stock SET note = 'on sale' WHERE item = 'cheese'", ""},
	} {
		if w.what != "" {
			fmt.Fprintf(d.Out, "\n  -- %s\n", w.what)
		}
		if err := d.run(ctx, w.n, w.user, w.text); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) showQueue(ctx context.Context) error {
	c := d.nodes[2]
	d.heading("What waits at c, and who did it")
	if err := d.command(ctx, "journal", "ls", "--data-dir", c.dataDir, "--origin", "c", "--limit", "3"); err != nil {
		return err
	}
	return d.command(ctx, "status", "--data-dir", c.dataDir)
}

func (d *demo) rejoin(ctx context.Context) error {
	d.heading("The network is back")
	d.setCut(false)
	for _, n := range d.nodes {
		if err := d.command(ctx, "drain", "--data-dir", n.dataDir, "--timeout", "30s"); err != nil {
			return err
		}
	}
	return nil
}

// compare waits until what arrived is applied, and shows the three tables.
func (d *demo) compare(ctx context.Context) error {
	d.heading("Three equal tables: both edits of the apple, both sales of bread")
	tables := make([]string, len(d.nodes))
	err := until(ctx, arriveTimeout, "the tables are equal", func() error {
		for i, n := range d.nodes {
			var b strings.Builder
			if err := d.print(ctx, &b, n, "bob", tableQuery); err != nil {
				return err
			}
			tables[i] = b.String()
		}
		if tables[0] != tables[1] || tables[1] != tables[2] || !strings.Contains(tables[0], " 16 ") {
			return errors.New("they differ:\n" + strings.Join(tables, "\n"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, n := range d.nodes {
		fmt.Fprintf(d.Out, "\n%s bob=> %s;\n%s", n.name, tableQuery, tables[i])
	}
	fmt.Fprintln(d.Out)
	return d.command(ctx, "verify", "--data-dir", d.nodes[0].dataDir)
}

func (d *demo) showClash(ctx context.Context) error {
	d.heading("The clash: the later write stands, the other is kept")
	return d.command(ctx, "conflicts", "ls", "--data-dir", d.nodes[0].dataDir)
}

// run executes statements through a node's proxy, showing them as psql would.
func (d *demo) run(ctx context.Context, n *node, user string, statements ...string) error {
	conn, err := n.conn(ctx, user)
	if err != nil {
		return err
	}
	for _, s := range statements {
		fmt.Fprintf(d.Out, "%s %s=> %s;\n", n.name, user, s)
		tag, err := conn.Exec(ctx, s)
		if err != nil {
			return fmt.Errorf("%s on %s: %w\n%s", s, n.name, err, n.proxy.tail())
		}
		fmt.Fprintf(d.Out, "%s\n", tag)
	}
	return nil
}

// query shows the result of a query through a node's proxy.
func (d *demo) query(ctx context.Context, n *node, user, query string) error {
	fmt.Fprintf(d.Out, "\n%s %s=> %s;\n", n.name, user, query)
	return d.print(ctx, d.Out, n, user, query)
}

func (d *demo) print(ctx context.Context, w interface{ Write([]byte) (int, error) }, n *node, user, query string) error {
	conn, err := n.conn(ctx, user)
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	defer rows.Close()
	var heads []audit.Head
	for _, f := range rows.FieldDescriptions() {
		heads = append(heads, audit.Head{Name: f.Name, Right: f.DataTypeOID != 25})
	}
	t := audit.NewTable(w, heads...)
	for rows.Next() {
		cells := []string{}
		for _, v := range rows.RawValues() {
			cells = append(cells, string(v))
		}
		if err := t.Row(cells...); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return t.End()
}

// arrived waits until query gives want on a node.
func (d *demo) arrived(ctx context.Context, n *node, query, want string) error {
	return until(ctx, arriveTimeout, fmt.Sprintf("%s gives %s on %s", query, want, n.name), func() error {
		if err := n.proxy.alive(); err != nil {
			return giveUp{err}
		}
		conn, err := n.conn(ctx, "postgres")
		if err != nil {
			return err
		}
		var got string
		if err := conn.QueryRow(ctx, query).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("it gives %s", got)
		}
		return nil
	})
}

// command runs one of pgproxy's own commands.
func (d *demo) command(ctx context.Context, args ...string) error {
	fmt.Fprintf(d.Out, "$ pgproxy %s\n", strings.Join(args, " "))
	if code := d.Command(ctx, args...); code != 0 {
		return fmt.Errorf("pgproxy %s: exit code %d", strings.Join(args, " "), code)
	}
	fmt.Fprintln(d.Out)
	return nil
}

func (d *demo) heading(text string) {
	fmt.Fprintf(d.Out, "\n── %s %s\n\n", text, strings.Repeat("─", max(0, 90-len(text))))
}
