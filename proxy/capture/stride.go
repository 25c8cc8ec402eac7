package capture

import "fmt"

// strideBlock makes the sequences behind serial and identity columns, and those that defaults use, give values that are
// congruent to the node's number modulo 256, from the next value on that nobody has seen. It leaves alone what is in line
// already, what cycles, what the user gave an increment of its own, and what the role does not own. One text per node, so
// that it is prepared once.
const strideBlock = `DO $pgproxy$ DECLARE n constant bigint := %d; r record; last bigint; called boolean; next bigint; first bigint;
BEGIN
FOR r IN SELECT c.oid, ns.nspname, c.relname, s.seqincrement, s.seqmin, s.seqmax FROM pg_catalog.pg_sequence s
  JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace ns ON ns.oid = c.relnamespace
  WHERE s.seqincrement IN (1, 256) AND NOT s.seqcycle AND ns.nspname <> 'pgproxy' AND s.seqmin >= 0
  AND CASE WHEN c.relpersistence = 't' OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN false -- may not even be asked for its value
    ELSE s.seqincrement = 1 OR coalesce((pg_catalog.pg_sequence_last_value(c.oid) - n) %% 256, 1) <> 0 END
  AND (EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0)
    OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid))
LOOP
  EXECUTE pg_catalog.format('SELECT last_value, is_called FROM %%I.%%I', r.nspname, r.relname) INTO last, called;
  CONTINUE WHEN r.seqincrement = 256 AND (last - n) %% 256 = 0;
  next := CASE WHEN called THEN last + 1 ELSE last END;
  next := next + ((n - next) %% 256 + 256) %% 256;
  first := CASE WHEN n = 0 THEN 256 ELSE n END;
  IF next = 0 THEN next := 256; END IF;
  IF first < r.seqmin OR first > r.seqmax THEN first := next; END IF;
  CONTINUE WHEN next > r.seqmax;
  EXECUTE pg_catalog.format('ALTER SEQUENCE %%I.%%I INCREMENT BY 256 START WITH %%s RESTART WITH %%s', r.nspname, r.relname, first, next);
END LOOP; END $pgproxy$`

// stride brings new or moved sequences in line with the node's number, inside the client's transaction.
func (w *work) stride() error {
	number := w.session.capturer.options.Number
	if number == nil {
		return nil
	}
	n, ok := number()
	if !ok {
		return nil
	}
	if _, err := w.session.inner.Query(w.ctx, fmt.Sprintf(strideBlock, n)); err != nil {
		return fmt.Errorf("set sequences' stride: %w", err)
	}
	return nil
}
