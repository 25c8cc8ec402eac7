package harness

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"os"
	"strconv"
)

// Seed gives the seed of a randomized test and prints it; PGPROXY_SEED replays one.
func Seed(t T) uint64 {
	t.Helper()
	if s := os.Getenv("PGPROXY_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("PGPROXY_SEED=%s is not a number", s)
		}
		t.Logf("seed %d (from PGPROXY_SEED)", seed)
		return seed
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // it cannot fail
	seed := uint64(binary.LittleEndian.Uint32(b[:]))
	t.Logf("seed %d (PGPROXY_SEED=%d replays)", seed, seed)
	return seed
}

// Rand gives the generator of one part of a seeded test; parts do not disturb each other's numbers.
func Rand(seed uint64, part uint64) *mathrand.Rand { return mathrand.New(mathrand.NewPCG(seed, part)) }

// Number reads a count from the environment (PGPROXY_ROUNDS and such).
func Number(t T, variable string, otherwise int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s=%s is not a number", variable, s)
	}
	return n
}
