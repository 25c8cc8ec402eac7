package pgtest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// encode gives the bytes of the frame that a step sends.
func (s Step) encode() ([]byte, error) {
	if s.Verb == "startup" {
		return startup(s.Words)
	}
	m, err := s.message()
	if err != nil {
		return nil, err
	}
	if m == nil {
		return hex.DecodeString(strings.Join(s.Words, ""))
	}
	return m.Encode(nil)
}

// startup gives a startup packet: a version, and parameters as K=V, in this order.
func startup(words []string) ([]byte, error) {
	major, minor, _ := strings.Cut(words[0], ".")
	n, err := numbers([]string{major, minor})
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 4), n[0]<<16|n[1])
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		b = append(append(append(append(b, k...), 0), v...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b, nil
}

// message gives the frame of a step; nil for hex.
func (s Step) message() (pgproto3.FrontendMessage, error) {
	w := s.Words
	switch s.Verb {
	case "query":
		return &pgproto3.Query{String: w[0]}, nil
	case "parse":
		oids, err := numbers(w[2:])
		return &pgproto3.Parse{Name: w[0], Query: w[1], ParameterOIDs: oids}, err
	case "bind":
		return &pgproto3.Bind{DestinationPortal: w[0], PreparedStatement: w[1], Parameters: values(w[2:])}, nil
	case "describe":
		return &pgproto3.Describe{ObjectType: w[0][0], Name: w[1]}, nil
	case "execute":
		most, err := numbers(w[1:])
		if len(most) == 0 {
			most = []uint32{0}
		}
		return &pgproto3.Execute{Portal: w[0], MaxRows: most[0]}, err
	case "close":
		return &pgproto3.Close{ObjectType: w[0][0], Name: w[1]}, nil
	case "sync":
		return &pgproto3.Sync{}, nil
	case "flush":
		return &pgproto3.Flush{}, nil
	case "copydata":
		return &pgproto3.CopyData{Data: []byte(w[0])}, nil
	case "copydone":
		return &pgproto3.CopyDone{}, nil
	case "copyfail":
		return &pgproto3.CopyFail{Message: w[0]}, nil
	case "call":
		oid, err := numbers(w[:1])
		if err != nil {
			return nil, err
		}
		return &pgproto3.FunctionCall{Function: oid[0], Arguments: values(w[1:])}, nil
	case "terminate":
		return &pgproto3.Terminate{}, nil
	}
	return nil, nil
}

func values(words []string) [][]byte {
	var out [][]byte
	for _, w := range words {
		if w == "NULL" {
			out = append(out, nil)
		} else {
			out = append(out, []byte(w))
		}
	}
	return out
}

func numbers(words []string) ([]uint32, error) {
	var out []uint32
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read number %q: %w", w, err)
		}
		out = append(out, uint32(n))
	}
	return out, nil
}

// firstUserOID is where the ids of objects that users make begin: they differ between two databases.
const firstUserOID = 16384

func oid(n uint32) string {
	if n >= firstUserOID {
		return "user"
	}
	return strconv.FormatUint(uint64(n), 10)
}

// show gives a received frame as text, its contents whole, and its type byte.
func show(m pgproto3.BackendMessage) (text string, typ byte) {
	switch m := m.(type) {
	case *pgproto3.AuthenticationOk:
		return "AuthenticationOk", 'R'
	case *pgproto3.BackendKeyData:
		return fmt.Sprintf("BackendKeyData of %d bytes", len(m.SecretKey)), 'K'
	case *pgproto3.ParameterStatus:
		return fmt.Sprintf("ParameterStatus %s=%q", m.Name, m.Value), 'S'
	case *pgproto3.ReadyForQuery:
		return fmt.Sprintf("ReadyForQuery %c", m.TxStatus), 'Z'
	case *pgproto3.RowDescription:
		return "RowDescription" + columns(m), 'T'
	case *pgproto3.DataRow:
		return "DataRow" + cells(m.Values), 'D'
	case *pgproto3.CommandComplete:
		return "CommandComplete " + string(m.CommandTag), 'C'
	case *pgproto3.EmptyQueryResponse:
		return "EmptyQueryResponse", 'I'
	case *pgproto3.ErrorResponse:
		return "ErrorResponse" + fields(m), 'E'
	case *pgproto3.NoticeResponse:
		e := pgproto3.ErrorResponse(*m)
		return "NoticeResponse" + fields(&e), 'N'
	case *pgproto3.NotificationResponse:
		return fmt.Sprintf("NotificationResponse %q %q", m.Channel, m.Payload), 'A'
	case *pgproto3.ParseComplete:
		return "ParseComplete", '1'
	case *pgproto3.BindComplete:
		return "BindComplete", '2'
	case *pgproto3.CloseComplete:
		return "CloseComplete", '3'
	case *pgproto3.NoData:
		return "NoData", 'n'
	case *pgproto3.PortalSuspended:
		return "PortalSuspended", 's'
	case *pgproto3.ParameterDescription:
		var b strings.Builder
		for _, o := range m.ParameterOIDs {
			b.WriteString(" " + oid(o))
		}
		return "ParameterDescription" + b.String(), 't'
	case *pgproto3.CopyInResponse:
		return fmt.Sprintf("CopyInResponse %d %v", m.OverallFormat, m.ColumnFormatCodes), 'G'
	case *pgproto3.CopyOutResponse:
		return fmt.Sprintf("CopyOutResponse %d %v", m.OverallFormat, m.ColumnFormatCodes), 'H'
	case *pgproto3.CopyData:
		return "CopyData " + shorten(m.Data), 'd'
	case *pgproto3.CopyDone:
		return "CopyDone", 'c'
	case *pgproto3.FunctionCallResponse:
		return "FunctionCallResponse" + cells([][]byte{m.Result}), 'V'
	case *pgproto3.NegotiateProtocolVersion:
		return fmt.Sprintf("NegotiateProtocolVersion %d %v", m.NewestMinorProtocol, m.UnrecognizedOptions), 'v'
	}
	return fmt.Sprintf("%T %+v", m, m), '?'
}

func columns(m *pgproto3.RowDescription) string {
	var b strings.Builder
	for _, f := range m.Fields {
		fmt.Fprintf(&b, " [%s table %s/%d type %s size %d mod %d format %d]", f.Name, oid(f.TableOID), f.TableAttributeNumber,
			oid(f.DataTypeOID), f.DataTypeSize, f.TypeModifier, f.Format)
	}
	return b.String()
}

func cells(values [][]byte) string {
	var b strings.Builder
	for _, v := range values {
		if v == nil {
			b.WriteString(" NULL")
		} else {
			b.WriteString(" " + shorten(v))
		}
	}
	return b.String()
}

// shownBytes is how much of a long value stands in a transcript, beside its length.
const shownBytes = 200

func shorten(b []byte) string {
	if len(b) > shownBytes {
		return fmt.Sprintf("%q... (%d bytes)", b[:shownBytes], len(b))
	}
	return strconv.Quote(string(b))
}

// fields shows every field of an error or notice, those included that only developers of the server read.
func fields(e *pgproto3.ErrorResponse) string {
	var b strings.Builder
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, " %s=%q", name, value)
		}
	}
	add("S", e.Severity)
	add("V", e.SeverityUnlocalized)
	add("C", e.Code)
	add("M", e.Message)
	add("D", e.Detail)
	add("H", e.Hint)
	if e.Position != 0 {
		add("P", strconv.Itoa(int(e.Position)))
	}
	if e.InternalPosition != 0 {
		add("p", strconv.Itoa(int(e.InternalPosition)))
	}
	add("q", e.InternalQuery)
	add("W", e.Where)
	add("s", e.SchemaName)
	add("t", e.TableName)
	add("c", e.ColumnName)
	add("d", e.DataTypeName)
	add("n", e.ConstraintName)
	add("F", e.File)
	add("R", e.Routine)
	return b.String()
}
