package parser

import (
	"container/list"
	"hash/maphash"
	"sync"
)

const (
	// DefaultCacheBytes is the default bound of the cache: texts, shapes and what is known of them, by estimate.
	DefaultCacheBytes = 32 << 20
	// maxCached is the longest text that is cached, in bytes: one giant must not drive out a thousand.
	maxCached = 64 << 10

	shards = 16
)

// cache keeps what was used last, bounded in bytes; safe for concurrent use.
type cache[V any] struct {
	seed   maphash.Seed
	shards [shards]shard[V]
}

type shard[V any] struct {
	mu    sync.Mutex // guards all below
	m     map[string]*list.Element
	order list.List // of *entry[V], last used first
	bytes int
	limit int
	// seen holds the hashes of texts that were met once. A text that is cheap to read is kept only when it comes again,
	// so that texts with inlined values, each of which comes once, do not drive out the others.
	seen [1024]uint32
}

type entry[V any] struct {
	key   string
	value V
	bytes int
}

func newCache[V any](limit int) *cache[V] {
	c := &cache[V]{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].m = make(map[string]*list.Element)
		c.shards[i].limit = limit / shards
	}
	return c
}

func (c *cache[V]) get(key string) (V, bool) {
	return c.shards[maphash.String(c.seed, key)%shards].get(key)
}

func (c *cache[V]) getBytes(key []byte) (V, bool) {
	s := &c.shards[maphash.Bytes(c.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.m[string(key)]; ok {
		s.order.MoveToFront(e)
		return e.Value.(*entry[V]).value, true
	}
	var none V
	return none, false
}

func (s *shard[V]) get(key string) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.m[key]; ok {
		s.order.MoveToFront(e)
		return e.Value.(*entry[V]).value, true
	}
	var none V
	return none, false
}

// put keeps a value of about the given size; a cheap one only at its second coming.
func (c *cache[V]) put(key string, v V, bytes int, cheap bool) {
	h := maphash.String(c.seed, key)
	s := &c.shards[h%shards]
	bytes += 200 // entry, list element, share of the map
	if len(key) > maxCached || bytes > s.limit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if mark := uint32(h >> 32); cheap && s.seen[h/shards%uint64(len(s.seen))] != mark {
		s.seen[h/shards%uint64(len(s.seen))] = mark
		return
	}
	if _, ok := s.m[key]; ok {
		return
	}
	s.m[key] = s.order.PushFront(&entry[V]{key, v, bytes})
	s.bytes += bytes
	for s.bytes > s.limit {
		last := s.order.Back()
		e := s.order.Remove(last).(*entry[V])
		delete(s.m, e.key)
		s.bytes -= e.bytes
	}
}

// size gives the bytes in use, by estimate.
func (c *cache[V]) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}
