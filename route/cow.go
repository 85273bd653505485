package route

import "hash/maphash"

// shardCount divides a map so that a change copies a 256th of it: at a full Internet
// table some thousand routes, not a million.
const shardCount = 256

// edition is the identity of one batch of changes. What carries the batch's own edition
// was made by it and may be written; anything else is published and is copied first.
type edition struct{ _ byte }

// cowMap is a map whose published copies never change. nil is an empty one to read.
type cowMap[K comparable, V any] struct {
	by     *edition
	seed   maphash.Seed
	len    int
	shards [shardCount]cowShard[K, V]
}

type cowShard[K comparable, V any] struct {
	by *edition
	m  map[K]V
}

// get returns the value of k.
func (c *cowMap[K, V]) get(k K) (v V, ok bool) {
	if c == nil {
		return v, false
	}
	v, ok = c.shards[c.shard(k)].m[k]
	return v, ok
}

func (c *cowMap[K, V]) shard(k K) uint64 { return maphash.Comparable(c.seed, k) % shardCount }

// size returns the number of keys.
func (c *cowMap[K, V]) size() int {
	if c == nil {
		return 0
	}
	return c.len
}

// edit returns the map to write in by: itself, or a copy that shares the shards.
func (c *cowMap[K, V]) edit(by *edition) *cowMap[K, V] {
	if c == nil {
		return &cowMap[K, V]{by: by, seed: maphash.MakeSeed()}
	}
	if c.by == by {
		return c
	}
	next := *c
	next.by = by
	return &next
}

// set is for a map that edit returned.
func (c *cowMap[K, V]) set(k K, v V) {
	m := c.own(k)
	before := len(m)
	m[k] = v
	c.len += len(m) - before
}

// del is for a map that edit returned.
func (c *cowMap[K, V]) del(k K) {
	m := c.own(k)
	before := len(m)
	delete(m, k)
	c.len += len(m) - before
}

// own returns the shard of k, copied if an earlier edition made it.
func (c *cowMap[K, V]) own(k K) map[K]V {
	s := &c.shards[c.shard(k)]
	if s.by == c.by {
		return s.m
	}
	m := make(map[K]V, len(s.m)+1)
	for key, v := range s.m {
		m[key] = v
	}
	s.by, s.m = c.by, m
	return m
}

// all calls fn for every key, in no order, until it returns false.
func (c *cowMap[K, V]) all(fn func(K, V) bool) {
	if c == nil {
		return
	}
	for i := range c.shards {
		for k, v := range c.shards[i].m {
			if !fn(k, v) {
				return
			}
		}
	}
}
