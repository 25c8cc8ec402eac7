package capture

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// transcoding gives what turns a client_encoding's bytes into UTF-8; nil where they are UTF-8 already, or cannot be told
// (SQL_ASCII and encodings without a table: text that is not UTF-8 then travels as binary).
func transcoding(name string) transcoder {
	e := charset(name)
	if e == nil {
		return nil
	}
	return func(b []byte) ([]byte, error) { return e.NewDecoder().Bytes(b) }
}

// ErrCharset is returned by Decode and Encode for what they cannot turn without loss.
var ErrCharset = errors.New("text cannot be converted from or to client_encoding")

// Decode turns text in a client_encoding into UTF-8, if Encode would turn that into the same bytes.
func Decode(name, text string) (string, error) {
	e := charset(name)
	if e == nil {
		return "", fmt.Errorf("%w %s", ErrCharset, name)
	}
	out, err := e.NewDecoder().String(text)
	if err == nil {
		var back string
		if back, err = e.NewEncoder().String(out); err == nil && back != text {
			err = errors.New("not the same bytes")
		}
	}
	if err != nil {
		return "", fmt.Errorf("%w %s: %w", ErrCharset, name, err)
	}
	return out, nil
}

// Encode turns UTF-8 into a client_encoding.
func Encode(name, text string) (string, error) {
	e := charset(name)
	if e == nil {
		return "", fmt.Errorf("%w %s", ErrCharset, name)
	}
	out, err := e.NewEncoder().String(text)
	if err != nil {
		return "", fmt.Errorf("%w %s: %w", ErrCharset, name, err)
	}
	return out, nil
}

// charset gives the table of an encoding; nil if there is none.
func charset(name string) encoding.Encoding {
	var e encoding.Encoding
	switch strings.ToUpper(name) {
	case "LATIN1":
		e = charmap.ISO8859_1
	case "LATIN2":
		e = charmap.ISO8859_2
	case "LATIN3":
		e = charmap.ISO8859_3
	case "LATIN4":
		e = charmap.ISO8859_4
	case "LATIN5":
		e = charmap.ISO8859_9
	case "LATIN6":
		e = charmap.ISO8859_10
	case "LATIN7":
		e = charmap.ISO8859_13
	case "LATIN8":
		e = charmap.ISO8859_14
	case "LATIN9":
		e = charmap.ISO8859_15
	case "LATIN10":
		e = charmap.ISO8859_16
	case "ISO_8859_5":
		e = charmap.ISO8859_5
	case "ISO_8859_6":
		e = charmap.ISO8859_6
	case "ISO_8859_7":
		e = charmap.ISO8859_7
	case "ISO_8859_8":
		e = charmap.ISO8859_8
	case "WIN866":
		e = charmap.CodePage866
	case "WIN874":
		e = charmap.Windows874
	case "WIN1250":
		e = charmap.Windows1250
	case "WIN1251":
		e = charmap.Windows1251
	case "WIN1252":
		e = charmap.Windows1252
	case "WIN1253":
		e = charmap.Windows1253
	case "WIN1254":
		e = charmap.Windows1254
	case "WIN1255":
		e = charmap.Windows1255
	case "WIN1256":
		e = charmap.Windows1256
	case "WIN1257":
		e = charmap.Windows1257
	case "WIN1258":
		e = charmap.Windows1258
	case "KOI8R":
		e = charmap.KOI8R
	case "KOI8U":
		e = charmap.KOI8U
	case "EUC_JP":
		e = japanese.EUCJP
	case "SJIS":
		e = japanese.ShiftJIS
	case "EUC_KR", "UHC":
		e = korean.EUCKR
	case "GBK", "EUC_CN":
		e = simplifiedchinese.GBK
	case "GB18030":
		e = simplifiedchinese.GB18030
	case "BIG5":
		e = traditionalchinese.Big5
	}
	return e
}
