package workload

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// kind is a sort of operation. do reports whether the client had asked for a commit when it ended: before that, an error
// means that nothing happened.
type kind struct {
	name        string
	more, never int // further ids that the operation needs
	heavy       bool
	do          func(ctx context.Context, c *client, op *Operation) (committing bool, err error)
}

const insertSet = "INSERT INTO w_set (id, node, note) VALUES ($1, $2, $3)"

// kinds lists the operations. They differ in what the proxy must do at their commit: implicit and explicit transactions,
// simple and extended protocol, pipelines, strings of several statements, savepoints, roll-backs, failures.
func kinds() []kind {
	return []kind{
		{name: "simple", do: simple},
		{name: "extended", do: extended},
		{name: "returning", do: returning},
		{name: "transaction", more: 1, do: transaction},
		{name: "string", more: 1, do: severalInOneString},
		{name: "block string", more: 1, do: blockInOneString},
		{name: "pipeline", more: 2, do: pipeline},
		{name: "savepoint", never: 1, do: savepoint},
		{name: "rollback", do: rollback},
		{name: "failure", do: failure},
		{name: "counter", do: counter},
		{name: "upsert", do: upsert},
		{name: "pair", do: pair},
		{name: "touch", do: touch},
		{name: "gone", do: gone},
		{name: "keyless", do: keyless},
		{name: "chain", do: chain},
		{name: "large", heavy: true, do: large},
		{name: "ddl", heavy: true, do: ddl},
	}
}

func simple(ctx context.Context, c *client, op *Operation) (bool, error) {
	sql := fmt.Sprintf("INSERT INTO w_set VALUES (%d, '%s', 'simple')", op.ID, op.Node)
	_, err := c.conn.PgConn().Exec(ctx, sql).ReadAll()
	return true, err
}

func extended(ctx context.Context, c *client, op *Operation) (bool, error) {
	_, err := c.conn.Exec(ctx, insertSet, op.ID, op.Node, "extended")
	return true, err
}

func returning(ctx context.Context, c *client, op *Operation) (bool, error) {
	var id int64
	var note *string
	err := c.conn.QueryRow(ctx, insertSet+" RETURNING id, note", op.ID, op.Node, nil).Scan(&id, &note)
	if err == nil && (id != op.ID || note != nil) {
		err = fmt.Errorf("RETURNING gave %d, %v", id, note)
	}
	return true, err
}

func transaction(ctx context.Context, c *client, op *Operation) (bool, error) {
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "first"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertSet, op.More[0], op.Node, "second")
		return err
	})
}

func inTransaction(ctx context.Context, c *client, f func(tx pgx.Tx) error) (committing bool, err error) {
	tx, err := c.conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback(ctx)
		return false, err
	}
	return true, tx.Commit(ctx)
}

func severalInOneString(ctx context.Context, c *client, op *Operation) (bool, error) {
	sql := fmt.Sprintf("INSERT INTO w_set VALUES (%d, '%s', 'one; of two'); INSERT INTO w_set VALUES (%d, '%s', 'two')",
		op.ID, op.Node, op.More[0], op.Node)
	_, err := c.conn.PgConn().Exec(ctx, sql).ReadAll()
	return true, err
}

func blockInOneString(ctx context.Context, c *client, op *Operation) (bool, error) {
	sql := fmt.Sprintf("BEGIN; INSERT INTO w_set VALUES (%d, '%s', NULL); INSERT INTO w_set VALUES (%d, '%s', ''); COMMIT",
		op.ID, op.Node, op.More[0], op.Node)
	_, err := c.conn.PgConn().Exec(ctx, sql).ReadAll()
	return true, err
}

func pipeline(ctx context.Context, c *client, op *Operation) (bool, error) {
	b := &pgx.Batch{}
	b.Queue(insertSet, op.ID, op.Node, "pipeline 1")
	b.Queue("SELECT count(*) FROM w_counter")
	b.Queue(insertSet, op.More[0], op.Node, "pipeline 2")
	b.Queue(insertSet, op.More[1], op.Node, "pipeline 3")
	return true, c.conn.SendBatch(ctx, b).Close()
}

func savepoint(ctx context.Context, c *client, op *Operation) (bool, error) {
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "kept"); err != nil {
			return err
		}
		nested, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := nested.Exec(ctx, insertSet, op.Never[0], op.Node, "taken back"); err != nil {
			return err
		}
		return nested.Rollback(ctx)
	})
}

func rollback(ctx context.Context, c *client, op *Operation) (bool, error) {
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "rolled back"); err != nil {
			return err
		}
		return errRolledBack
	})
}

// failure inserts an id twice in one implicit transaction.
func failure(ctx context.Context, c *client, op *Operation) (bool, error) {
	sql := fmt.Sprintf("INSERT INTO w_set VALUES (%d, 'x', 'x'); INSERT INTO w_set VALUES (%d, 'x', 'y')", op.ID, op.ID)
	_, err := c.conn.PgConn().Exec(ctx, sql).ReadAll()
	if err == nil {
		err = errors.New("a duplicate key was taken")
	}
	return true, err
}

func counter(ctx context.Context, c *client, op *Operation) (bool, error) {
	id, k := 1+c.rand.IntN(Counters), c.rand.IntN(19)-9
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "counter"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO w_delta VALUES ($1, $2, $3)", op.ID, id, k); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf("UPDATE w_counter SET n = n + %d WHERE id = $1", k), id)
		return err
	})
}

func upsert(ctx context.Context, c *client, op *Operation) (bool, error) {
	_, err := c.conn.Exec(ctx, insertSet+" ON CONFLICT (id) DO UPDATE SET note = excluded.note", op.ID, op.Node, "upsert")
	return true, err
}

// pair writes one token into two rows; whoever comes later wins both.
func pair(ctx context.Context, c *client, op *Operation) (bool, error) {
	first := 1 + 2*c.rand.IntN(Pairs)
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "pair"); err != nil {
			return err
		}
		for id := first; id < first+2; id++ {
			if _, err := tx.Exec(ctx, "UPDATE w_pair SET token = $1 WHERE id = $2", op.ID, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// touch changes a row that this client has written before.
func touch(ctx context.Context, c *client, op *Operation) (bool, error) {
	if len(c.mine) == 0 {
		return extended(ctx, c, op)
	}
	old := c.mine[c.rand.IntN(len(c.mine))]
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "touch"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE w_set SET note = $1 WHERE id = $2", fmt.Sprintf("touched by %d", op.ID), old)
		return err
	})
}

// gone puts a row into w_gone or takes an older one away.
func gone(ctx context.Context, c *client, op *Operation) (bool, error) {
	sql, id := "INSERT INTO w_gone VALUES ($1)", op.ID
	if len(c.gone) > 2 {
		sql, id = "DELETE FROM w_gone WHERE id = $1", c.gone[0]
		c.gone = c.gone[1:]
		c.ledger.Delete(op, id)
	}
	committing, err := inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "gone"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql, id)
		return err
	})
	if err == nil && op.Deletes == 0 {
		c.gone = append(c.gone, op.ID)
	}
	return committing, err
}

func keyless(ctx context.Context, c *client, op *Operation) (bool, error) {
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "keyless"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO w_keyless VALUES ($1, $2)", op.ID, op.Node)
		return err
	})
}

// chain makes, changes or takes rows that equal one another, in a table without key: what one client made is what others
// change on.
func chain(ctx context.Context, c *client, op *Operation) (bool, error) {
	sql, from, to := "INSERT INTO w_chain VALUES ($1)", 1+c.rand.IntN(Links), 1+c.rand.IntN(Links)
	args := []any{from}
	switch c.rand.IntN(8) {
	case 0, 1:
		sql = "DELETE FROM w_chain WHERE a = $1"
	case 2, 3, 4, 5:
		sql, args = "UPDATE w_chain SET a = $1 WHERE a = $2", []any{to, from}
	}
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "chain"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql, args...)
		return err
	})
}

// largeBytes is what one large row holds: some of them fill a journal's segment.
const largeBytes = 100_000

func large(ctx context.Context, c *client, op *Operation) (bool, error) {
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "large"); err != nil {
			return err
		}
		body := make([]byte, largeBytes)
		for i := range body {
			body[i] = 'a' + byte(c.rand.IntN(26)) // so that it does not compress to nothing
		}
		_, err := tx.Exec(ctx, "INSERT INTO w_large VALUES ($1, $2)", op.ID, string(body))
		return err
	})
}

// ddl makes a table, which travels as a statement.
func ddl(ctx context.Context, c *client, op *Operation) (bool, error) {
	return inTransaction(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertSet, op.ID, op.Node, "ddl"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf("CREATE TABLE w_made_%d (a int)", op.ID))
		return err
	})
}
