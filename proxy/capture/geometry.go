package capture

func appendPair(dst, b []byte) []byte {
	dst = append(appendFloat8(dst, b[:8]), ',')
	return appendFloat8(dst, b[8:16])
}

func appendPoint(dst, b []byte) []byte { return append(appendPair(append(dst, '('), b), ')') }

func appendLseg(dst, b []byte) []byte {
	dst = append(appendPoint(append(dst, '['), b), ',')
	return append(appendPoint(dst, b[16:]), ']')
}

func appendBox(dst, b []byte) []byte {
	return appendPoint(append(appendPoint(dst, b), ','), b[16:])
}

func appendLine(dst, b []byte) []byte {
	dst = append(appendPair(append(dst, '{'), b), ',')
	return append(appendFloat8(dst, b[16:]), '}')
}

func appendCircle(dst, b []byte) []byte {
	dst = append(appendPoint(append(dst, '<'), b), ',')
	return append(appendFloat8(dst, b[16:]), '>')
}

func appendPath(dst, b []byte) ([]byte, error) {
	if len(b) < 5 {
		return dst, errBinary
	}
	open, end := byte('['), byte(']')
	if b[0] != 0 {
		open, end = '(', ')'
	}
	return appendPoints(dst, b[1:], open, end)
}

func appendPolygon(dst, b []byte) ([]byte, error) { return appendPoints(dst, b, '(', ')') }

func appendPoints(dst, b []byte, open, end byte) ([]byte, error) {
	if len(b) < 4 || (len(b)-4)/16 != int(be32(b)) || (len(b)-4)%16 != 0 {
		return dst, errBinary
	}
	dst = append(dst, open)
	for b = b[4:]; len(b) > 0; b = b[16:] {
		dst = appendPoint(dst, b)
		if len(b) > 16 {
			dst = append(dst, ',')
		}
	}
	return append(dst, end), nil
}
