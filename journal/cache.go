package journal

import (
	"container/list"
	"sync"
)

// cache keeps the decoded records that were used last, up to a bound of their encoded bytes.
type cache struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	order *list.List // of *cached, the latest used first
	byID  map[ID]*list.Element
}

type cached struct {
	record *Record
	size   int64
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, order: list.New(), byID: map[ID]*list.Element{}}
}

func (c *cache) get(id ID) *Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[id]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).record
}

// put keeps r, whose encoded form has size bytes. A record over a quarter of the cache would only push out others.
func (c *cache) put(r *Record, size int) {
	if int64(size) > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byID[r.ID]; ok {
		return
	}
	c.byID[r.ID] = c.order.PushFront(&cached{r, int64(size)})
	for c.bytes += int64(size); c.bytes > c.limit; {
		last := c.order.Back()
		old := c.order.Remove(last).(*cached)
		delete(c.byID, old.record.ID)
		c.bytes -= old.size
	}
}
