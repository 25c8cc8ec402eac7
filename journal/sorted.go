package journal

import (
	"maps"
	"slices"
)

// The journal's bytes must not depend on the order of Go's maps.

func sortedNodes[V any](m map[NodeID]V) []NodeID {
	return slices.SortedFunc(maps.Keys(m), func(a, b NodeID) int { return slices.Compare(a[:], b[:]) })
}

func sortedSeqs[V any](m map[uint64]V) []uint64 { return slices.Sorted(maps.Keys(m)) }

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
