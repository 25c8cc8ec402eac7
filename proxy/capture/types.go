package capture

// typeData is one type as relationQuery describes it.
type typeData struct {
	OID      uint32 `json:"oid"`
	Name     string `json:"name"`
	Kind     string `json:"kind"` // pg_type.typtype
	Category string `json:"category"`
	Len      int    `json:"len"`
	Elem     uint32 `json:"elem"`
	Base     uint32 `json:"base"` // of a domain
	Delim    string `json:"delim"`
	Send     bool   `json:"send"`
	Catalog  bool   `json:"catalog"`
	Sub      uint32 `json:"sub"` // range: its subtype; multirange: its range
}

// typ is a node of the type tree. Composites carry their own types in their binary form and look them up in tree.
type typ struct {
	typeData
	tree *types
}

// types is a set of types that is closed under element, base, subtype and attribute.
type types struct{ byOID map[uint32]*typ }

func newTypes(data []typeData) *types {
	t := &types{byOID: make(map[uint32]*typ, len(data))}
	for _, d := range data {
		t.byOID[d.OID] = &typ{typeData: d, tree: t}
	}
	return t
}

// of gives the type of that oid; an unknown one is an opaque base type.
func (t *types) of(oid uint32) *typ {
	if x := t.byOID[oid]; x != nil {
		return x
	}
	return &typ{typeData: typeData{OID: oid, Kind: "b", Len: -1, Catalog: oid < firstUserOID}, tree: t}
}

// firstUserOID is FirstNormalObjectId: everything below was made by initdb.
const firstUserOID = 16384

// base strips domains.
func (t *typ) base() *typ {
	for i := 0; t.Kind == "d" && i < 100; i++ {
		t = t.tree.of(t.Base)
	}
	return t
}

func (t *typ) array() bool { return t.Category == "A" && t.Len == -1 && t.Elem != 0 }

// known reports whether value can make the canonical text of t from its binary form: then the whole row can travel as
// one record. Otherwise the column is asked for as text.
func (t *typ) known() bool { return t.knownTo(0) }

func (t *typ) knownTo(depth int) bool {
	b := t.base()
	if depth > 20 || !b.Send {
		return false
	}
	switch {
	case b.OID == oidInt2vector || b.OID == oidOidvector:
		return true
	case b.array():
		return b.tree.of(b.Elem).knownTo(depth + 1)
	case b.Kind == "e":
		return true
	case b.Kind == "r" || b.Kind == "m":
		return b.tree.of(b.Sub).knownTo(depth + 1)
	case b.Kind == "c":
		// The attributes are in the set too, but not which are whose: every composite is asked for as text unless all
		// types of the set are known.
		for _, x := range b.tree.byOID {
			if x.Kind != "c" && x.Kind != "d" && !x.array() && !x.knownTo(depth+1) {
				return false
			}
		}
		return true
	}
	return b.textual() || baseTexts[b.OID] != nil
}

// textual reports whether the binary form is the text itself, in client_encoding.
func (t *typ) textual() bool {
	switch t.OID {
	case oidText, oidVarchar, oidBpchar, oidName, oidJSON, oidXML, oidUnknown, oidCstring, oidRefcursor:
		return true
	}
	return t.Kind == "e" || t.Name == "citext" && !t.Catalog
}
