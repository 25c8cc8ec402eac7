package journal

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// goldenEvents has one event of each kind, with every field set.
func goldenEvents() []*Event {
	at := time.Unix(1700000000, 7).UTC()
	who := Who{Session: 12, User: "ann", Database: "bank", Application: "psql", Client: "10.0.0.7:40123",
		TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256", Auth: "scram-sha-256", Backend: 4711}
	operator := Who{User: "root", Client: "admin"}
	events := []*Event{
		{Kind: EventSessionStart, Who: who, SessionStart: &SessionStart{Replication: true}},
		{Kind: EventSessionEnd, Who: who, SessionEnd: &SessionEnd{Start: at, Duration: 5 * time.Second, Reason: "client", Detail: "d",
			Statements: 300, Errors: 2, Transactions: 3, Changes: 4}},
		{Kind: EventRefused, Who: who, Refusal: &Refusal{SQLState: "28P01", Message: "password authentication failed", By: "database"}},
		{Kind: EventAct, Who: operator, Act: &Act{Verb: "resolve", Arguments: []string{"a/7", "commit"}, Error: "no"}},
		{Kind: EventGap, Who: who, Gap: &Gap{Cause: GapWrites, Reason: "full", From: at, To: at.Add(1), Transactions: 1, Statements: 2, Events: 3, Tables: []string{"public.account"}}},
		{Kind: EventNodeStart, NodeState: &NodeState{Version: "1", Policy: "classes: [write]"}},
		{Kind: EventNodeStop, NodeState: &NodeState{Version: "1", Reason: "asked to"}},
	}
	for _, e := range events {
		e.Node, e.Incarnation, e.Time = NodeID{0: 1, 15: 2}, 3, 0x18bcfe568000002a
	}
	return events
}

// TestEventGolden: the format of events does not change by accident, and every field comes back.
func TestEventGolden(t *testing.T) {
	seen := map[EventKind]bool{}
	for _, e := range goldenEvents() {
		seen[e.Kind] = true
		b := eventEntry(e).stamp(6, treeBefore(6))
		path := filepath.Join("testdata", "golden", e.Kind.String()+".hex")
		if *update {
			if err := os.WriteFile(path, []byte(wrap(hex.EncodeToString(b))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(string(want), "\n", "") != hex.EncodeToString(b) {
			t.Errorf("%s: the format has changed: %x", e.Kind, b)
		}
		got, err := readEntry(6, b)
		if err != nil || !reflect.DeepEqual(got.event, e) {
			t.Errorf("%s: %+v, %v", e.Kind, got, err)
		}
	}
	for _, k := range EventKinds() {
		if !seen[k] {
			t.Errorf("no golden file for %s", k)
		}
	}
}

// TestEventsComeBack: decode(encode(x)) is x, for any event.
func TestEventsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &Event{Kind: rapid.SampledFrom(EventKinds()).Draw(t, "kind"), Who: rapid.Make[Who]().Draw(t, "who"), Time: 5}
		texts := genSlice(rapid.String(), 3)
		switch e.Kind {
		case EventSessionStart:
			e.SessionStart = &SessionStart{Replication: rapid.Bool().Draw(t, "replication")}
		case EventSessionEnd:
			e.SessionEnd = &SessionEnd{Start: genTime().Draw(t, "start"), Duration: time.Duration(rapid.Int64().Draw(t, "for")),
				Reason: rapid.String().Draw(t, "reason"), Statements: rapid.Uint64().Draw(t, "n")}
		case EventRefused:
			e.Refusal = &Refusal{SQLState: rapid.String().Draw(t, "state"), Message: rapid.String().Draw(t, "message")}
		case EventAct:
			e.Act = &Act{Verb: rapid.String().Draw(t, "verb"), Arguments: texts.Draw(t, "args")}
		case EventGap:
			e.Gap = &Gap{Cause: GapAttempts, From: genTime().Draw(t, "from"), To: genTime().Draw(t, "to"), Tables: texts.Draw(t, "tables")}
		default:
			e.NodeState = &NodeState{Policy: rapid.String().Draw(t, "policy")}
		}
		if err := e.validate(); err != nil {
			t.Fatal(err)
		}
		enc := encoder{}
		enc.event(e)
		d := decoder{s: string(enc.b)}
		got := d.event()
		if err := d.end(); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("got  %+v, %v\nwant %+v", got, err, e)
		}
	})
}

// TestEventPayloads: an event with no payload, another kind's, or two is refused.
func TestEventPayloads(t *testing.T) {
	for i, e := range goldenEvents() {
		if err := e.validate(); err != nil {
			t.Error(err)
		}
		none := Event{Kind: e.Kind}
		two := *goldenEvents()[(i+1)%5]
		two.Act, two.Gap, two.Kind = &Act{}, &Gap{}, e.Kind
		if none.validate() == nil || two.validate() == nil {
			t.Errorf("%s: the wrong payload passes", e.Kind)
		}
	}
	if (&Event{Kind: 99, Act: &Act{}}).validate() == nil {
		t.Error("an unknown kind passes")
	}
}

// FuzzEvent: no bytes make the decoder panic, and what it reads is written the same way again.
func FuzzEvent(f *testing.F) {
	for _, e := range goldenEvents() {
		f.Add(eventEntry(e).payload)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{s: string(b)}
		e := d.event()
		if d.end() != nil {
			return
		}
		enc := encoder{}
		enc.event(e)
		if !bytes.Equal(enc.b, b) {
			t.Fatalf("read\n%x\nwrote\n%x", b, enc.b)
		}
	})
}
