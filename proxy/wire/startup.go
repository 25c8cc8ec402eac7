package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Codes that stand in the place of the protocol version in a startup packet.
const (
	CodeCancel = 80877102
	CodeTLS    = 80877103
	CodeGSS    = 80877104
)

// MaxStartup is the largest startup packet in bytes, as in PostgreSQL (MAX_STARTUP_PACKET_LENGTH).
const MaxStartup = 10000

// Startup is the first packet of a connection.
type Startup struct {
	Code   uint32 // protocol version, or one of the codes above
	Raw    []byte // the packet as it came, length included
	Params []Param
}

// Param is one parameter of a startup packet.
type Param struct{ Name, Value string }

// Get gives the last value of a parameter, as PostgreSQL reads it, or "".
func (s *Startup) Get(name string) string {
	v := ""
	for i := range s.Params {
		if s.Params[i].Name == name {
			v = s.Params[i].Value
		}
	}
	return v
}

// ReadStartup reads exactly one startup packet from src and nothing beyond it.
func ReadStartup(src io.Reader) (*Startup, error) {
	var h [4]byte
	if _, err := io.ReadFull(src, h[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n < 8 || n > MaxStartup {
		return nil, fmt.Errorf("startup packet: %w %d", ErrLength, int32(n))
	}
	raw := make([]byte, n)
	copy(raw, h[:])
	if _, err := io.ReadFull(src, raw[4:]); err != nil {
		return nil, unexpected(err)
	}
	return DecodeStartup(raw)
}

// DecodeStartup takes a startup packet apart; raw includes its length.
func DecodeStartup(raw []byte) (*Startup, error) {
	if len(raw) < 8 || int(binary.BigEndian.Uint32(raw)) != len(raw) {
		return nil, ErrMalformed
	}
	s := &Startup{Code: binary.BigEndian.Uint32(raw[4:]), Raw: raw}
	if s.Code>>16 != 3 {
		return s, nil
	}
	c := cursor{b: raw[8:]}
	for {
		if len(c.b) == 0 {
			return s, ErrMalformed
		}
		if c.b[0] == 0 {
			c.b = c.b[1:]
			return s, c.end()
		}
		p := Param{c.string(), c.string()}
		if c.bad {
			return s, ErrMalformed
		}
		s.Params = append(s.Params, p)
	}
}
