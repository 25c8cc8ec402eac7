package admin

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"pgproxy/audit"
)

// values gives q as URL parameters; parseQuery reads them.
func (q JournalQuery) values() url.Values {
	v := url.Values{}
	put := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	if !q.Since.IsZero() {
		put("since", q.Since.Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		put("until", q.Until.Format(time.RFC3339Nano))
	}
	put("user", q.User)
	put("database", q.Database)
	put("table", q.Table)
	put("origin", q.Origin)
	if q.Outcome != nil {
		put("outcome", audit.OutcomeName(*q.Outcome))
	}
	if q.Limit > 0 {
		put("limit", strconv.Itoa(q.Limit))
	}
	if q.After > 0 {
		put("after", strconv.FormatUint(q.After, 10))
	}
	flag := func(name string, on bool) {
		if on {
			put(name, "true")
		}
	}
	flag("forward", q.Forward)
	flag("all", q.All)
	flag("follow", q.Follow)
	return v
}

func parseQuery(v url.Values) (JournalQuery, error) {
	var q JournalQuery
	var err error
	keep := func(name string, e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("parameter %s: %w", name, e)
		}
	}
	when := func(name string) time.Time {
		if v.Get(name) == "" {
			return time.Time{}
		}
		t, e := time.Parse(time.RFC3339Nano, v.Get(name))
		keep(name, e)
		return t
	}
	number := func(name string) uint64 {
		if v.Get(name) == "" {
			return 0
		}
		n, e := strconv.ParseUint(v.Get(name), 10, 63)
		keep(name, e)
		return n
	}
	q.Since, q.Until = when("since"), when("until")
	q.User, q.Database, q.Table, q.Origin = v.Get("user"), v.Get("database"), v.Get("table"), v.Get("origin")
	if s := v.Get("outcome"); s != "" {
		o, e := audit.ParseOutcome(s)
		keep("outcome", e)
		q.Outcome = &o
	}
	q.Limit, q.After = int(number("limit")), number("after")
	q.Forward, q.All, q.Follow = v.Get("forward") == "true", v.Get("all") == "true", v.Get("follow") == "true"
	return q, err
}
