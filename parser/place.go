package parser

// copy makes a statement that can be placed in another text. What has no place is shared.
func (s *Statement) copy() *Statement {
	c := *s
	if s.Targets != nil {
		c.Targets = append([]Target(nil), s.Targets...)
	}
	if s.Inner != nil {
		c.Inner = s.Inner.copy()
	}
	return &c
}

// place turns token places into bytes of the text. base is the byte that Offset counts from.
func (s *Statement) place(text string, m *marks, base int, at func(int) token) {
	from, to := int(at(m.first).from), int(at(m.last).to)
	s.Text, s.Offset = text[from:to], from-base
	s.Comment, s.Claim = commentBehind(text[to:]), claimOf(s.Text)
	end := func(i int) int {
		if i < 0 {
			return -1
		}
		return int(at(i).to) - from
	}
	s.SpliceAt, s.MainAt = end(m.splice), -1
	if m.main >= 0 {
		s.MainAt = int(at(m.main).from) - from
	}
	if m.password[0] >= 0 && s.Password != nil {
		s.Password.Span = Span{int(at(m.password[0]).from) - from, int(at(m.password[1]).to) - from}
	}
	for i := range s.Targets {
		s.Targets[i].SpliceAt = end(m.targets[i])
	}
	if s.Inner != nil {
		s.Inner.place(text, m.inner, from, at)
	}
}

// The sizes that the cache counts with, in bytes: of the structs, rounded up.
const (
	sizeStatement  = 700
	sizeTarget     = 104
	sizeName       = 64 // with its strings
	sizeAssignment = 48
)

func (s *Script) size() int {
	n := len(s.Text) + 120
	for _, st := range s.Statements {
		n += st.size()
	}
	return n
}

func (r *reading) size() int {
	n := 0
	for _, st := range r.statements {
		n += st.size() + len(st.Text) + 100
	}
	return n
}

func (s *Statement) size() int {
	n := sizeStatement + len(s.Targets)*sizeTarget + (len(s.Objects)+len(s.Reads)+len(s.Functions)+len(s.Pinned)+len(s.CopyColumns))*sizeName +
		(len(s.Assignments)+len(s.DoUpdate))*sizeAssignment + len(s.Secrets)*16
	if s.Inner != nil {
		n += s.Inner.size()
	}
	return n
}
