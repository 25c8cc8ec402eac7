package capture

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"golang.org/x/text/unicode/norm"
)

// scramIterations and scramSalt are the server's defaults (SCRAM_SHA_256_DEFAULT_ITERATIONS, SCRAM_DEFAULT_SALT_LEN).
const (
	scramIterations = 4096
	scramSalt       = 16
)

// verifier turns a clear password into what pg_authid would hold of it: whoever has it can check the password, not use
// it. "" without a source of randomness.
func (c *Capturer) verifier(password string) (string, error) {
	if c.options.Rand == nil {
		return "", nil
	}
	salt := make([]byte, scramSalt)
	if _, err := io.ReadFull(c.options.Rand, salt); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	return scramVerifier(password, salt)
}

func scramVerifier(password string, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, norm.NFKC.String(password), salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive key: %w", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, b64(salt), b64(stored[:]), b64(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
