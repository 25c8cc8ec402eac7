package command

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pgproxy/audit"
)

// maskKeyFile holds the key of hashed columns in the data folder: 32 random bytes, hexadecimal. It is the journal's own: hashes of
// two nodes cannot be compared. Whoever has it can try values.
const maskKeyFile = "mask.key"

// maskKeyBytes is the key's length.
const maskKeyBytes = 32

// readMaskKey gives the key of a data folder; nil if it has none.
func readMaskKey(dir string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, maskKeyFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil // hashes are shown as redacted
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of hashed columns: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != maskKeyBytes {
		return nil, fmt.Errorf("%s is not %d bytes in hexadecimal", filepath.Join(dir, maskKeyFile), maskKeyBytes)
	}
	return key, nil
}

// makeVeil makes what hides masked columns, and the key for it where one is needed.
func (n *node) makeVeil() error {
	policy, err := n.set.AuditPolicy()
	if err != nil {
		return fmt.Errorf("audit policy: %w", err)
	}
	key, err := readMaskKey(n.set.DataDir)
	if err != nil {
		return err
	}
	if _, keyed := policy.HasMasks(); keyed && key == nil {
		key = make([]byte, maskKeyBytes)
		if _, err := rand.Read(key); err != nil {
			return fmt.Errorf("make the key of hashed columns: %w", err)
		}
		path := filepath.Join(n.set.DataDir, maskKeyFile)
		if err := os.WriteFile(path, []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
			return fmt.Errorf("keep the key of hashed columns: %w", err)
		}
	}
	n.veil = audit.NewVeil(policy, key)
	return nil
}
