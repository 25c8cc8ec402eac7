package peerpb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"pgproxy/journal"
)

func raw(origin byte, seq uint64, body string) journal.Raw {
	return journal.Raw{ID: journal.ID{Origin: journal.NodeID{15: origin}, Seq: seq}, HLC: 1 << 20, Bytes: []byte(body)}
}

func read(payload []byte) ([]journal.Raw, error) {
	var out []journal.Raw
	for r, err := range Records(payload) {
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// TestPayloadGolden pins the form: a change of these bytes is a new protocol version.
func TestPayloadGolden(t *testing.T) {
	got := AppendRecord(AppendRecord(nil, raw(1, 1, "one")), raw(2, 300, ""))
	const want = "01" + "00000000000000000000000000000001" + "01" + "808040" + "03" + "6f6e65" +
		"00000000000000000000000000000002" + "ac02" + "808040" + "00"
	if hex.EncodeToString(got) != want {
		t.Fatalf("payload is\n%x, want\n%s", got, want)
	}
	recs, err := read(got)
	if err != nil || len(recs) != 2 || recs[1].ID.Seq != 300 || string(recs[0].Bytes) != "one" {
		t.Fatalf("read back %v, %v", recs, err)
	}
}

// TestFrameGolden pins the numbers of the frame's fields.
func TestFrameGolden(t *testing.T) {
	f := &Frame{Body: &Frame_Batch{Batch: &Batch{Epoch: 2, Size: 3, More: true, Zstd: true, Data: []byte("abc")}}}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b), "320d080210031801200"+"12a03616263"; got != want {
		t.Fatalf("frame is %s, want %s", got, want)
	}
}

func TestPayloadRefusals(t *testing.T) {
	good := AppendRecord(nil, raw(1, 1, "body"))
	for name, b := range map[string][]byte{
		"empty": {}, "version": append([]byte{9}, good[1:]...), "cut": good[:len(good)-1], "head": good[:10],
		"no sequence": AppendRecord(nil, raw(1, 0, "x")), "no origin": AppendRecord(nil, raw(0, 1, "x")),
		"endless number": append(append([]byte{1}, good[1:17]...), bytes.Repeat([]byte{0xff}, 12)...),
	} {
		if _, err := read(b); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(AppendRecord(AppendRecord(nil, raw(1, 1, "one")), raw(2, 300, "")))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := read(b)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range recs {
			again = AppendRecord(again, r)
		}
		back, err := read(again)
		if len(recs) > 0 && (err != nil || len(back) != len(recs)) {
			t.Fatalf("%d records came back as %d: %v", len(recs), len(back), err)
		}
	})
}

func FuzzToVector(f *testing.F) {
	b, _ := proto.Marshal(&State{Stored: FromVector(journal.Vector{{1}: 5, {2}: 7})})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s State
		if proto.Unmarshal(b, &s) != nil {
			return
		}
		if v, err := ToVector(s.Stored); err == nil && len(v) > len(s.Stored) {
			t.Fatal("vector grew")
		}
	})
}
