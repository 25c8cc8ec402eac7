package capture

import (
	"fmt"
	"net/netip"
	"strconv"
)

// The address families of inet's binary form.
const (
	inetV4 = 2
	inetV6 = 3
)

// appendInet prints inet (the mask only where it is not the whole address) and cidr (always).
func appendInet(dst, b []byte) ([]byte, error) {
	if len(b) < 4 || len(b) != 4+int(b[3]) {
		return dst, errBinary
	}
	family, bits, cidr, raw := b[0], int(b[1]), b[2] != 0, b[4:]
	switch {
	case family == inetV4 && len(raw) == 4:
		dst = netip.AddrFrom4([4]byte(raw)).AppendTo(dst)
	case family == inetV6 && len(raw) == 16:
		dst = appendV6(dst, raw)
	default:
		return dst, errBinary
	}
	if cidr || bits != len(raw)*8 {
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, int64(bits), 10)
	}
	return dst, nil
}

// appendV6 prints as the server's inet_net_ntop does: the first longest run of zero words (two or more) as "::", and a
// run from the start of six words, or five followed by ffff, with an IPv4 tail.
func appendV6(dst, raw []byte) []byte {
	var words [8]uint16
	for i := range words {
		words[i] = be16(raw[2*i:])
	}
	best, length := -1, 0
	for i := 0; i < 8; {
		if words[i] != 0 {
			i++
			continue
		}
		j := i
		for j < 8 && words[j] == 0 {
			j++
		}
		if j-i > length && j-i >= 2 {
			best, length = i, j-i
		}
		i = j
	}
	for i := 0; i < 8; i++ {
		if best >= 0 && i >= best && i < best+length {
			if i == best {
				dst = append(dst, ':')
			}
			continue
		}
		if i > 0 {
			dst = append(dst, ':')
		}
		if i == 6 && best == 0 && (length == 6 || length == 7 && words[7] != 1 || length == 5 && words[5] == 0xffff) {
			return fmt.Appendf(dst, "%d.%d.%d.%d", raw[12], raw[13], raw[14], raw[15])
		}
		dst = strconv.AppendUint(dst, uint64(words[i]), 16)
	}
	if best >= 0 && best+length == 8 {
		dst = append(dst, ':')
	}
	return dst
}

func appendMAC(dst, b []byte) []byte {
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = fmt.Appendf(dst, "%02x", c)
	}
	return dst
}
