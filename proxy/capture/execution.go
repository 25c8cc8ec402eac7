package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgproxy/journal"
	"pgproxy/parser"
)

// Execution collects the effect of one execution of a planned statement.
type Execution struct {
	session *Session
	plan    *Plan
	st      *parser.Statement // nil for a text that could not be read
	spool   rowSpool          // the appended column of each row, binary
	keys    *copyKeys
}

// Effect is what a statement did.
type Effect struct {
	Tables  []string
	Capture journal.Capture
	Note    string
	Stored  *journal.Span    // changes that are in the transaction's images, before Changes; nil: there are none
	Changes []journal.Change // Relation indexes into TxState.Relations
	Replay  *journal.Replay  // CaptureStatement; if there are Changes too, they come after it
}

// Start begins capturing one execution of the planned statement. st is nil for a PlanUnread.
func (s *Session) Start(p *Plan, st *parser.Statement) *Execution {
	return &Execution{session: s, plan: p, st: st, spool: rowSpool{make: s.capturer.options.Spool}}
}

// ErrTooLarge is returned by Finish where one statement's rows take more than Options.MaxBytes and must be looked at
// together: the transaction cannot be recorded, and must not commit.
var ErrTooLarge = errors.New("the statement's row images are too large to be looked at together")

// Row takes the appended column of one result row (valid only during the call).
func (e *Execution) Row(col []byte) error { return e.spool.add(col, !e.plan.OwnRows) }

// Close gives up what the execution holds. Finish does so too.
func (e *Execution) Close() { e.spool.close() }

// work is an Execution's Finish under way.
type work struct {
	*Execution
	ctx    context.Context
	tx     *TxState
	who    *who
	rows   [][]byte // of the block that is being looked at
	effect Effect
	notes  []string
	// streaming: changes go to the transaction's images; into has their relations.
	streaming bool
	into      map[*relation]bool
	// missing: something was written that could not be captured.
	missing bool
	pages   int64 // of the relation whose leaves were listed last
	looked  bool  // the changes recorded now are those that a look at the counts has announced
	loud    reach // what triggers set off by foreign-key actions may have written
}

// Finish is called after the statement's CommandComplete and before anything else is sent. It may query in the client's
// session (COPY read-back, locks held, new sequences' strides) and through pgproxy's own connection (unproven before-images,
// foreign-key actions), and returns the statement's part of the record. tag is the server's command tag. An error means
// that the client's transaction cannot be recorded: it must not commit.
func (e *Execution) Finish(ctx context.Context, tx *TxState, tag string) (Effect, error) {
	w := &work{Execution: e, ctx: ctx, tx: tx, effect: Effect{Capture: e.plan.Capture}}
	if e.plan.Note != "" {
		w.notes = append(w.notes, e.plan.Note)
	}
	defer e.Close()
	err := w.finish(tag)
	if err == nil {
		err = w.again()
	}
	if err != nil {
		return Effect{}, fmt.Errorf("capture %s: %w", commandOf(tag), err)
	}
	w.close()
	return w.effect, nil
}

func commandOf(tag string) string {
	command, _, _ := strings.Cut(tag, " ")
	return command
}

func (w *work) finish(tag string) (err error) {
	// A statement that may have moved the session's names has done so by now.
	if w.st == nil || w.st.Class == parser.ClassOpaque || w.st.Class == parser.ClassRead && w.plan.how == howWatch {
		w.session.Altered()
	}
	if w.st != nil && w.st.AltersSchema && w.plan.how != howNothing {
		w.session.AlteredSchema()
	}
	if w.plan.how == howNothing && !w.plan.sequences {
		return nil
	}
	if w.who, err = w.session.learn(w.ctx); err != nil {
		return err
	}
	switch w.plan.how {
	case howRows:
		err = w.finishRows()
	case howScan:
		err = w.finishScan()
	case howCopy:
		err = w.finishCopy(tag)
	case howReplay:
		if err = w.finishReplay(); err == nil && w.st.AltersSchema {
			err = w.finishDDL()
		}
	}
	if reach := w.plan.watch.join(w.loud); err == nil && !reach.none() {
		err = w.watch(reach)
	}
	if err == nil && w.plan.sequences {
		err = w.stride()
	}
	return err
}

// close gives the effect its final shape.
func (w *work) close() {
	e := &w.effect
	e.Note = strings.Join(w.notes, "; ")
	slices.Sort(e.Tables)
	e.Tables = slices.Compact(e.Tables)
	switch {
	case w.missing && e.Replay == nil:
		e.Capture = journal.CaptureMissing
	case e.Replay == nil && len(e.Changes) == 0 && e.Stored == nil && e.Capture != journal.CaptureLocal:
		e.Capture = journal.CaptureNone
	}
}

func (w *work) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(w.notes, n) {
		w.notes = append(w.notes, n)
	}
}

// lost records that rows of a table were written that could not be captured.
func (w *work) lost(table, format string, args ...any) {
	w.missing = true
	w.touch(table)
	w.note(table+": "+format, args...)
}

func (w *work) touch(table string) {
	if !slices.Contains(w.effect.Tables, table) {
		w.effect.Tables = append(w.effect.Tables, table)
	}
}

// record adds changes of one table to the effect and to the transaction.
func (w *work) record(rel *relation, changes []journal.Change) error {
	if len(changes) == 0 {
		return nil
	}
	index := w.tx.relation(rel)
	for i := range changes {
		changes[i].Relation = index
	}
	if !w.looked {
		w.session.tallies.count(rel.OID, changes)
	}
	w.touch(rel.full())
	if w.streaming {
		return w.push(rel, changes)
	}
	w.effect.Changes = append(w.effect.Changes, changes...)
	w.tx.add(rel, changes)
	return nil
}

// relationOf gives the relation in whose shape the rows of the table of that oid are recorded: a partition's topmost
// parent, else the table itself.
func (w *work) relationOf(oid uint32) (*relation, error) {
	cat, q := w.session.catalog()
	rel, err := cat.relation(w.ctx, q, oid)
	if err != nil {
		return nil, err
	}
	if rel.Root != 0 && rel.Root != rel.OID {
		return cat.relation(w.ctx, q, rel.Root)
	}
	return rel, nil
}

// target gives the plan's relation as it is now: the statement's lock has frozen it, but it may have been altered between
// plan and lock.
func (w *work) target() (*relation, error) {
	cat, q := w.session.catalog()
	oid := w.plan.rel.OID
	if _, altering := cat.state(); altering {
		cat.forgetRelation(oid, false)
	}
	if written := w.written(); w.plan.rel.Kind == "r" && written != 0 && written != oid {
		// The name means another table by now: it was made anew, or the search_path was changed since the plan.
		oid = written
	}
	rel, err := cat.relation(w.ctx, q, oid)
	if err == nil && oid != w.plan.rel.OID && rel.full() == w.plan.rel.full() {
		cat.forgetRelation(w.plan.rel.OID, true)
		cat.forgetName(rel.Name)
	}
	if errors.Is(err, errNoRelation) {
		return w.plan.rel, nil
	}
	return rel, err
}

// written gives the oid of the table that the first row is of; 0 if it cannot be read.
func (w *work) written() uint32 {
	f, err := recordFields(w.rows[0])
	if err != nil || len(f) < 2 || len(f[1].data) != 4 {
		return 0
	}
	return be32(f[1].data)
}

// finishRows turns the appended column into changes.
func (w *work) finishRows() error {
	if w.spool.size == 0 {
		return nil
	}
	if w.spool.file != nil {
		return w.finishBlocks()
	}
	return w.finishBlock(w.spool.rows)
}

func (w *work) finishBlock(rows [][]byte) error {
	w.rows = rows
	for attempt := 0; ; attempt++ {
		rel, err := w.target()
		if err != nil {
			return err
		}
		images, err := w.images(rel)
		var shape *shapeError
		if errors.As(err, &shape) {
			if attempt == 0 {
				cat, _ := w.session.catalog()
				cat.forgetRelation(rel.OID, true)
				continue
			}
			if w.streaming {
				return err // some blocks are recorded already
			}
			w.lost(rel.full(), "%v", err)
			return nil
		}
		if err != nil {
			return err
		}
		w.rows = nil
		return w.build(rel, images)
	}
}

// rowImage is what one result row told.
type rowImage struct {
	row, old []journal.Value // new row (DELETE: the old one); nil where MERGE deleted
	proven   bool            // old is right, or is known not to exist
	inserted bool            // upsert and MERGE: it is known that the row was inserted
	updated  bool            // ... that it was updated
	table    uint32
}

// images decodes the appended columns. Row fields of the target's own record are checked against rel.
func (w *work) images(rel *relation) ([]rowImage, error) {
	sh := w.plan.shape
	if rel != w.plan.rel {
		sh = shapeOf(rel, w.who.Encoding)
		if !sh.whole || !w.plan.shape.whole {
			if !sh.whole && !w.plan.shape.whole && sameColumns(rel, w.plan.rel) {
				sh.modes = w.plan.shape.modes
			} else {
				return nil, &shapeError{rel.full(), "altered while the statement was planned"}
			}
		}
	}
	images := make([]rowImage, 0, len(w.rows))
	for _, raw := range w.rows {
		im, err := w.image(sh, raw)
		if err != nil {
			return nil, err
		}
		images = append(images, im)
	}
	return images, nil
}

func sameColumns(a, b *relation) bool {
	return slices.EqualFunc(a.Columns, b.Columns, func(x, y columnData) bool { return x.Name == y.Name && x.Type == y.Type })
}

func (w *work) image(sh shape, raw []byte) (im rowImage, err error) {
	f, err := recordFields(raw)
	if err != nil {
		return im, fmt.Errorf("decode appended column: %w", err)
	}
	if len(f) != w.plan.image.fields() {
		return im, fmt.Errorf("decode appended column: %d fields", len(f))
	}
	if len(f[1].data) == 4 { // NULL: MERGE deleted the row
		im.table = be32(f[1].data)
		if im.row, err = sh.decode(f[0].data, w.who.transcode); err != nil {
			return im, err
		}
	}
	switch w.plan.image {
	case imageOld:
		im.proven, im.inserted, im.updated = true, f[3].data == nil, f[3].data != nil
		if im.updated {
			im.old, err = sh.decode(f[2].data, w.who.transcode)
		}
	case imageProof, imageKey:
		elsewhere := sh.rel.Schema != w.plan.rel.Schema || sh.rel.Name != w.plan.rel.Name
		err = im.prove(sh, f, w.who.transcode, elsewhere)
	}
	return im, err
}

// prove reads the old row by key, as the statement's snapshot saw it, and checks that it is the version overwritten.
// elsewhere: the sub-select has looked into another table than the statement has written to.
func (im *rowImage) prove(sh shape, f []recordField, tc transcoder, elsewhere bool) error {
	var xmin, xmax []byte
	if len(f) == 5 {
		xmin, xmax = f[3].data, f[4].data
		// INSERT .. ON CONFLICT locks the row that it updates, and the new version inherits the lock.
		im.inserted = xmax != nil && be32(xmax) == 0
		im.updated = !im.inserted
	}
	if f[2].data == nil {
		return nil
	}
	o, err := recordFields(f[2].data)
	if err != nil || len(o) != 2 {
		return fmt.Errorf("decode old row: %w", errBinary)
	}
	if xmin == nil || !bytes.Equal(o[1].data, xmin) {
		return nil
	}
	if elsewhere {
		return nil
	}
	im.proven, im.updated, im.inserted = true, true, false
	im.old, err = sh.decode(o[0].data, tc)
	return err
}

// Ahead gives the effect before the statement is sent: for statements that refuse a transaction block, whose record must
// be durable before they run. What only their run could tell is missing from it, and said to be.
func (e *Execution) Ahead(ctx context.Context) (Effect, error) {
	w := &work{Execution: e, ctx: ctx, tx: &TxState{}, effect: Effect{Capture: e.plan.Capture}}
	if e.plan.Note != "" {
		w.notes = append(w.notes, e.plan.Note)
	}
	switch e.plan.how {
	case howReplay:
		if err := w.finishReplay(); err != nil {
			return Effect{}, err
		}
	case howNothing:
	default:
		w.missing = true
		w.note("it refuses a transaction block, and its effect is not known before it runs")
	}
	w.close()
	return w.effect, nil
}
