package proxy

import (
	"net/url"
	"slices"
	"strings"

	"pgproxy/parser"
	"pgproxy/proxy/wire"
)

// What a client says of its own end user ("claimed"): the setting pgproxy.context, or a comment in the form of SQLCommenter at
// the end of the statement, as many libraries add it:
//
//	SET pgproxy.context = 'user=42,request=8f3a'          for the session; SET LOCAL: for the transaction
//	SELECT set_config('pgproxy.context', 'user=42', true)
//	UPDATE t SET .. /*controller='orders',traceparent='00-..'*/
//
// The server reports no change of such a setting, so it is followed from the statements themselves. A setting wins over a
// comment.

// maxContext bounds what is kept of it, in bytes.
const maxContext = 4 << 10

// claim is the setting as the session has it. Settings are taken back with their transaction.
type claim struct {
	value string
	// local is SET LOCAL's; it ends with the transaction.
	local    string
	hasLocal bool
	// saved is what the value was before the transaction changed it.
	saved   string
	changed bool
	saves   []claimSave
}

// claimSave is a savepoint.
type claimSave struct {
	name            string
	value, local    string
	hasLocal, moved bool
}

func (c *claim) current() string {
	if c.hasLocal {
		return c.local
	}
	return c.value
}

// set takes a SET; block says that a transaction is open.
func (c *claim) set(value string, local, block bool) {
	value = cutContext(value)
	if local {
		if block {
			c.local, c.hasLocal = value, true
		}
		return
	}
	if block && !c.changed {
		c.saved, c.changed = c.value, true
	}
	c.value, c.local, c.hasLocal = value, "", false
}

// end is told when a transaction ends.
func (c *claim) end(committed bool) {
	if !committed && c.changed {
		c.value = c.saved
	}
	c.local, c.hasLocal, c.changed, c.saved, c.saves = "", false, false, "", nil
}

func (c *claim) savepoint(name string) {
	c.saves = append(c.saves, claimSave{name, c.value, c.local, c.hasLocal, c.changed})
}

func (c *claim) find(name string) int {
	for i := len(c.saves) - 1; i >= 0; i-- {
		if c.saves[i].name == name {
			return i
		}
	}
	return -1
}

func (c *claim) release(name string) {
	if i := c.find(name); i >= 0 {
		c.saves = c.saves[:i]
	}
}

func (c *claim) rollbackTo(name string) {
	i := c.find(name)
	if i < 0 {
		return
	}
	v := c.saves[i]
	c.value, c.local, c.hasLocal, c.changed = v.value, v.local, v.hasLocal, v.moved
	c.saves = c.saves[:i+1]
}

func cutContext(s string) string {
	if len(s) > maxContext {
		s = s[:maxContext]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// followContext looks for what a statement, about to run or just run, does to the setting.
func (s *session) followContext(st *parser.Statement) {
	c := &s.context
	switch st.Class {
	case parser.ClassTransaction:
		switch st.Transaction {
		case parser.Commit, parser.PrepareTransaction:
			c.end(true)
		case parser.Rollback:
			c.end(false)
		case parser.Savepoint:
			c.savepoint(st.Name)
		case parser.Release:
			c.release(st.Name)
		case parser.RollbackTo:
			c.rollbackTo(st.Name)
		}
	case parser.ClassSession:
		switch {
		case st.Claim != nil:
			c.set(st.Claim.Value, st.Claim.Local, s.inBlock())
		case st.Setting == parser.ContextSetting, st.Setting == "all", st.Command == "DISCARD ALL":
			c.set("", false, s.inBlock())
		}
	case parser.ClassRead:
		if st.Claim != nil && st.Claim.Param == 0 {
			c.set(st.Claim.Value, st.Claim.Local, s.inBlock())
		}
	}
}

// commentContext reads the comment behind a statement, if it is key='value' pairs in the form of SQLCommenter, and gives
// them as "key=value,key=value", sorted.
func commentContext(comment string) string {
	body, ok := strings.CutPrefix(comment, "/*")
	if !ok {
		return ""
	}
	body = strings.TrimSuffix(body, "*/")
	var pairs []string
	for _, f := range strings.Split(strings.TrimSpace(body), ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(f), "=")
		if !ok || len(v) < 2 || v[0] != '\'' || v[len(v)-1] != '\'' || k == "" || strings.ContainsAny(k, " '\"") {
			return ""
		}
		key, err := url.PathUnescape(k)
		value, err2 := url.PathUnescape(strings.ReplaceAll(v[1:len(v)-1], `\'`, `'`))
		if err != nil || err2 != nil {
			return ""
		}
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return cutContext(strings.Join(pairs, ","))
}

// claims follows a portal that sets it from a parameter.
func (s *session) claims(po *portal) {
	if c := po.ps.st.Claim; c != nil && c.Param > 0 {
		s.context.set(po.claim, c.Local, s.inBlock())
	}
}

// noteClaim keeps the parameter's value from Bind.
func (s *session) noteClaim(po *portal, peek []byte) {
	c := po.ps.st.Claim
	if c == nil || c.Param == 0 || len(peek) > maxContext*4 {
		return
	}
	b, err := wire.DecodeBind(append([]byte(nil), peek...))
	if err == nil && c.Param <= len(b.Params) {
		po.claim = string(b.Params[c.Param-1]) // a text's binary form is its text
	}
}
