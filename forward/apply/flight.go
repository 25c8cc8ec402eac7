package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pgproxy/journal"
)

// step is one statement of a flight, and what came of it.
type step struct {
	sql    string
	args   []journal.Value
	oids   []uint32 // of the parameters; nil where the server is to infer them
	word   string   // the command tag without its count; "" until it is done
	tag    int64    // rows affected; -1 where the tag says nothing
	rows   [][][]byte
	parsed *statement
	err    error // of this step; the steps behind it did not run
}

// statement is a prepared statement of a session.
type statement struct {
	name  string
	ready bool // ParseComplete was seen
}

// flight is a list of statements that goes to the server in one write and is answered by one ReadyForQuery. Its
// statements run in the transaction that is open, or that the first of them opens.
type flight struct {
	steps []*step
	done  bool // its answer was read
}

func (f *flight) add(sql string, args ...journal.Value) *step {
	s := &step{sql: sql, args: args, tag: -1}
	f.steps = append(f.steps, s)
	return s
}

// maxFlight bounds a flight's statements, so that the answers (some 40 bytes each) fit the socket's buffers while
// the server is still being written to.
const maxFlight = 1000

// errBroken is returned once the connection cannot be used any more; what a COMMIT under way did is unknown then.
var errBroken = errors.New("connection to the database is broken")

// session is one connection of ours with its prepared statements. Not safe for concurrent use.
type session struct {
	conn       *pgconn.PgConn
	statements map[string]*statement // by text
	named      int
	unanswered []*flight // sent, oldest first
	broken     bool
	status     byte // of the last ReadyForQuery
	stop       func() bool
}

func newSession(conn *pgconn.PgConn) *session {
	return &session{conn: conn, statements: map[string]*statement{}, status: 'I'}
}

// watch makes the end of ctx end whatever the session waits for; the session is broken then.
func (s *session) watch(ctx context.Context) {
	s.stop = context.AfterFunc(ctx, func() { _ = s.conn.Conn().SetDeadline(time.Unix(1, 0)) })
}

func (s *session) close() {
	if s.stop != nil {
		s.stop()
	}
	_ = s.conn.Conn().Close()
	s.broken = true
}

// send writes a flight and does not wait for its answer.
func (s *session) send(f *flight) error {
	if s.broken {
		return errBroken
	}
	fe := s.conn.Frontend()
	for _, st := range f.steps {
		s.sendStep(fe, st)
	}
	fe.SendSync(&pgproto3.Sync{})
	s.unanswered = append(s.unanswered, f)
	if err := fe.Flush(); err != nil {
		s.broken = true
		return fmt.Errorf("send to the database: %w: %w", errBroken, err)
	}
	return nil
}

func (s *session) sendStep(fe *pgproto3.Frontend, st *step) {
	p := s.statements[st.sql]
	if p == nil {
		s.named++
		p = &statement{name: "p" + strconv.Itoa(s.named)}
		s.statements[st.sql] = p
		st.parsed = p
		fe.SendParse(&pgproto3.Parse{Name: p.name, Query: st.sql, ParameterOIDs: st.oids})
	}
	bind := pgproto3.Bind{PreparedStatement: p.name}
	if len(st.args) > 0 {
		bind.Parameters = make([][]byte, len(st.args))
		for i, v := range st.args {
			switch v.Kind {
			case journal.ValueText:
				bind.Parameters[i] = []byte(v.Data)
			case journal.ValueBinary:
				if bind.ParameterFormatCodes == nil {
					bind.ParameterFormatCodes = make([]int16, len(st.args))
				}
				bind.ParameterFormatCodes[i] = 1
				bind.Parameters[i] = []byte(v.Data)
			}
			if v.Data == "" && v.Kind != journal.ValueNull {
				bind.Parameters[i] = []byte{}
			}
		}
	}
	fe.SendBind(&bind)
	fe.SendExecute(&pgproto3.Execute{})
}

// receive reads the answer to the oldest unanswered flight. The error is that of the first step that failed, or errBroken.
func (s *session) receive() error {
	if len(s.unanswered) == 0 {
		return nil
	}
	f := s.unanswered[0]
	s.unanswered = s.unanswered[1:]
	if s.broken {
		return errBroken
	}
	var failed error
	at := 0
	for {
		msg, err := s.conn.Frontend().Receive()
		if err != nil {
			s.broken = true
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("server closed the connection")
			}
			return fmt.Errorf("read from the database: %w: %w", errBroken, err)
		}
		switch m := msg.(type) {
		case *pgproto3.ParseComplete:
			f.steps[at].parsed.ready = true
		case *pgproto3.DataRow:
			f.steps[at].rows = append(f.steps[at].rows, copyRow(m))
		case *pgproto3.CommandComplete:
			f.steps[at].word, f.steps[at].tag = affected(string(m.CommandTag))
			at++
		case *pgproto3.EmptyQueryResponse:
			at++
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(m)
			if at < len(f.steps) { // else it is the commit's, at Sync
				f.steps[at].err = failed
			}
			if m.Severity == "FATAL" || m.SeverityUnlocalized == "FATAL" {
				s.broken = true
				return fmt.Errorf("%w: %w", errBroken, failed)
			}
		case *pgproto3.ReadyForQuery:
			s.status, f.done = m.TxStatus, true
			if failed != nil {
				s.forgetUnready()
			}
			return failed
		}
	}
}

// forgetUnready drops statements whose Parse the server skipped or refused.
func (s *session) forgetUnready() {
	pending := map[*statement]bool{}
	for _, f := range s.unanswered {
		for _, st := range f.steps {
			pending[st.parsed] = true
		}
	}
	for sql, p := range s.statements {
		if !p.ready && !pending[p] {
			delete(s.statements, sql)
		}
	}
}

// do sends a flight and reads its answer, and those of the flights before it, whose errors stay with their steps.
func (s *session) do(f *flight) error {
	err := s.send(f)
	for err == nil && len(s.unanswered) > 1 {
		if e := s.receive(); errors.Is(e, errBroken) {
			err = e
		}
	}
	if err != nil {
		return err
	}
	return s.receive()
}

// query runs one statement and gives its rows.
func (s *session) query(sql string, args ...journal.Value) ([][][]byte, error) {
	f := &flight{}
	st := f.add(sql, args...)
	if err := s.do(f); err != nil {
		return nil, err
	}
	return st.rows, nil
}

// once runs statements that are not worth keeping prepared, by the simple protocol. Text may hold several.
func (s *session) once(ctx context.Context, sql string) error {
	if s.broken {
		return errBroken
	}
	_, err := s.conn.Exec(ctx, sql).ReadAll()
	if s.conn.IsClosed() {
		s.broken = true
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return err
}

// rollback ends whatever transaction is open.
func (s *session) rollback() error {
	f := &flight{}
	f.add("ROLLBACK")
	return s.do(f)
}

// forget closes all prepared statements: the schema has changed.
func (s *session) forget() error {
	f := &flight{}
	f.add("DEALLOCATE ALL")
	err := s.do(f)
	s.statements = map[string]*statement{}
	return err
}

func copyRow(m *pgproto3.DataRow) [][]byte {
	row := make([][]byte, len(m.Values))
	for i, v := range m.Values {
		if v != nil {
			row[i] = append([]byte{}, v...)
		}
	}
	return row
}

// affected cuts the count off a command tag.
func affected(tag string) (word string, n int64) {
	word, _, _ = strings.Cut(tag, " ")
	n, err := strconv.ParseInt(tag[strings.LastIndexByte(tag, ' ')+1:], 10, 64)
	if err != nil {
		return word, -1
	}
	return word, n
}
