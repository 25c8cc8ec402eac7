package capture

import "testing"

func TestSnapshot(t *testing.T) {
	s, err := parseSnapshot("4294967290:4294967300:4294967292,4294967298") // ids that have gone round: xmax is 4
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"2": true, "4294967289": true, "4294967290": true, "4294967292": false, "4294967295": true, "3": true, "4": false, "5": false, "x": false} {
		if got := s.saw([]byte(id)); got != want {
			t.Errorf("saw(%s) is %v", id, got)
		}
	}
	for _, bad := range []string{"", "1:2", "1:x:", "1:2:3,y", "99999999999999999999:1:"} {
		if _, err := parseSnapshot(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	if !(*snapshot)(nil).saw([]byte("7")) {
		t.Error("READ COMMITTED sees all that is committed")
	}
}
