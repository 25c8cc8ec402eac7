package proxy

import (
	"strconv"
	"strings"
	"time"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// prepared is a prepared statement that needs attention; those that do not are not kept.
type prepared struct {
	name   string
	st     *parser.Statement // nil: only passes
	plan   *capture.Plan     // nil: not held
	types  []uint32          // of parameters: the client's, completed by the server's
	unsure *run              // collects the server's parameter types
	failed bool              // it did not take effect (told by the queue)
	closed bool              // stands for a Close
	prev   *prepared         // what the name meant before
	text   string            // as the client wrote it, whole
}

// live gives what a name means now: failed definitions do not count.
func (p *prepared) live() *prepared {
	for p != nil && p.failed {
		p = p.prev
	}
	if p == nil || p.closed {
		return nil
	}
	return p
}

// portal is a portal of such a statement.
type portal struct {
	name   string
	ps     *prepared
	bind   wire.Bind       // parameters as they came, until the statement has run
	params []journal.Param // as the journal keeps them; filled once the statement has run
	run    *run            // its execution; nil before the first
	bound  uint64          // number of its Bind in the queue
	claim  string          // the parameter that pgproxy.context is set to
}

// failed reports whether a failure is that of the portal's own statement, and not of a message before it.
func (po *portal) failed(f *failure) bool {
	switch {
	case f.own:
		return true
	case f.kind == 'P':
		return f.ps != nil && f.ps.name == po.ps.name && f.ps.text == po.ps.text
	case f.kind == 'B':
		return f.seq == po.bound
	}
	return f.kind == 'E' && f.run == po.run
}

// run collects the answers to one Execute: for capture, for the front goroutine, or for a query of pgproxy's own. The
// back goroutine writes it while the front one waits.
type run struct {
	ex      *capture.Execution
	st      *parser.Statement
	params  []journal.Param
	collect bool // keep the rows
	rows    [][][]byte
	types   []uint32 // of a ParameterDescription
	tag     string
	ended   byte // 'C', 'I' or 's'; 0 while it runs
	err     error
	start   time.Time
	count   int64 // rows seen
	noted   bool  // it stands in the transaction's record
	origin  origin
	copied  copyCount // COPY data that the client sent
}

// affected gives the row count of a command tag; -1 where it has none.
func affected(tag string) int64 {
	i := strings.LastIndexByte(tag, ' ')
	if i < 0 {
		return -1
	}
	n, err := strconv.ParseInt(tag[i+1:], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
