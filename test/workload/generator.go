package workload

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Limits of a client's patience: what takes longer counts as no answer.
const (
	connectLimit   = 5 * time.Second
	operationLimit = 20 * time.Second
	retryPause     = 30 * time.Millisecond
)

// Target is a node to write to.
type Target struct {
	Name string // the node's name
	DSN  string // of the database, through the proxy
}

// Generator runs clients against targets until it is told to stop. The fields are set before Run.
type Generator struct {
	Targets []Target
	Clients int // for each target
	Ledger  *Ledger
	Rand    func(client uint64) *rand.Rand // numbers of one client
	Kinds   []string                       // names of the operations to draw from; all if empty
	Limit   int                            // operations for each client; 0 is no limit
}

// Run writes until stop is closed or every client has reached its limit. Connections that fail are opened again.
func (g *Generator) Run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for i, target := range g.Targets {
		for j := range g.Clients {
			c := &client{target: target, ledger: g.Ledger, rand: g.Rand(uint64(i*1000 + j)), kinds: g.chosen(), limit: g.Limit}
			clients.Go(func() { c.run(ctx, stop) })
		}
	}
	clients.Wait()
	cancel()
}

func (g *Generator) chosen() []kind {
	if len(g.Kinds) == 0 {
		return kinds()
	}
	var out []kind
	for _, k := range kinds() {
		for _, name := range g.Kinds {
			if k.name == name {
				out = append(out, k)
			}
		}
	}
	return out
}

// client is one connection's user.
type client struct {
	target Target
	ledger *Ledger
	rand   *rand.Rand
	kinds  []kind
	limit  int
	conn   *pgx.Conn
	user   string
	mine   []int64 // ids that this client had acknowledged, to be touched later
	gone   []int64 // ids that it put into w_gone
}

func (c *client) run(ctx context.Context, stop <-chan struct{}) {
	defer c.close()
	for n := 0; c.limit == 0 || n < c.limit; n++ {
		select {
		case <-stop:
			return
		default:
		}
		if !c.connected(ctx) {
			select {
			case <-stop:
				return
			case <-time.After(retryPause):
			}
			continue
		}
		c.operate(ctx, c.draw())
	}
}

// draw picks what to do next; what is heavy comes more rarely.
func (c *client) draw() kind {
	k := c.kinds[c.rand.IntN(len(c.kinds))]
	if k.heavy && c.rand.IntN(4) > 0 {
		k = c.kinds[c.rand.IntN(len(c.kinds))]
	}
	return k
}

func (c *client) connected(ctx context.Context) bool {
	if c.conn != nil && !c.conn.IsClosed() {
		return true
	}
	config, err := pgx.ParseConfig(c.target.DSN)
	if err != nil {
		panic("workload: bad target: " + err.Error()) // a bug of the test
	}
	config.RuntimeParams["application_name"] = "workload"
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	if c.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		c.conn = nil
		return false
	}
	c.user = config.User
	return true
}

func (c *client) close() {
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.conn.Close(ctx)
	}
}

// operate does one operation and notes what came of it.
func (c *client) operate(ctx context.Context, k kind) {
	op := c.ledger.Begin(k.name, c.target.Name, c.user, k.more, k.never)
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	committing, err := k.do(ctx, c, op)
	c.ledger.End(op, judge(committing, err), err)
	if err == nil && op.Outcome == Acked {
		c.mine = append(c.mine, op.ID)
	}
	if err != nil && c.conn.PgConn().TxStatus() != 'I' {
		c.close() // whatever state it is in, start afresh
		c.conn = nil
	}
}

// errRolledBack says that an operation did what it wanted: to take its transaction back.
var errRolledBack = errors.New("rolled back on purpose")

// judge says what an operation's end means. committing: the client had asked for a commit when the error came.
func judge(committing bool, err error) Outcome {
	if err == nil {
		return Acked
	}
	if errors.Is(err, errRolledBack) || !committing {
		return Failed
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Severity == "ERROR" && !strings.HasPrefix(pg.Code, "08") &&
		!strings.HasPrefix(pg.Code, "57") && !strings.HasPrefix(pg.Code, "58") && !strings.HasPrefix(pg.Code, "XX") {
		return Failed // the server said that this statement, or this commit, did not happen
	}
	return Unknown
}
