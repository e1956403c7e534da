# What the store counts, and where its size goes. Reads; decides nothing.


cdef dict stats_of(Space* s):
    cdef Super* t = s.top
    cdef uint64_t fixed = t.size - <uint64_t> t.npages * PAGE_BYTES
    cdef uint64_t grown = (segments_now(s) + table_blocks(s)) * BLOCK_BYTES
    return {
        "size": t.size,
        "used": fixed + t.used_granules * GRANULE,
        "fixed": fixed + grown,
        "pinned": pinned_granules(s) * GRANULE,
        "pinned_most": t.pinned_most * GRANULE,
        "objects": t.objects,
        "object_bytes": t.object_bytes,
        "evictions": t.evictions,
        "expired_evictions": t.expired_evictions,
        "moved": t.moved,
        "commits": t.commits,
        "aborts": t.aborts,
        "fills": registered_fills(s),
        "lock_failures": t.lock_failures,
        "rebuilt": t.rebuilt,
        "slots": buckets_now(s) * SLOTS,
        "index_load": t.objects / <double> (buckets_now(s) * SLOTS),
    }


cdef dict account_space(Space* s):
    """Where the size goes: bytes, table by table; they add up to it."""
    cdef Super* t = s.top
    cdef uint64_t page
    cdef uint64_t lists = 0
    cdef uint64_t free[3]
    cdef uint64_t grown = segments_now(s) + table_blocks(s)
    cdef uint64_t base_ring = sum([t.evict.base_room[which] for which in range(t.evict.rings)])
    memset(free, 0, sizeof(free))
    for page in range(t.npages):
        if s.table[page].kind == PAGE_RUNS:
            lists += s.table[page].lines * LINE_GRANULES * GRANULE
        free[s.table[page].kind] += s.table[page].free * GRANULE
    parts = {
        "workers": t.fill_tags - t.workers,
        "fills": t.uncacheable - t.fill_tags + t.tables[TABLE_FILLS].blocks * BLOCK_BYTES,
        "uncacheable": t.index - t.uncacheable,
        "index": t.trees - t.index + segments_now(s) * BLOCK_BYTES,
        "pages": t.evict.queues - t.trees,
        "rings": base_ring * sizeof(uint32_t)
                 + (t.tables[TABLE_RING].blocks + t.tables[TABLE_RING + 1].blocks) * BLOCK_BYTES,
        "ghosts": t.evict.base_groups * GHOST_WAYS * sizeof(uint32_t) + t.tables[TABLE_GHOSTS].blocks * BLOCK_BYTES,
        "bounce": BOUNCE_BYTES,
        "lists": lists,
        "free pages": free[<int> PAGE_FREE],
        "free in pages of runs": free[<int> PAGE_RUNS],
        "free blocks": free[<int> PAGE_BLOCK],
        "records": t.objects * sizeof(Record),
        "objects": t.object_bytes,
        # of runs to granules; numbers of blocks; what is on its way in or held only by its pins
        "rounding": t.used_granules * GRANULE - lists - grown * BLOCK_BYTES - t.objects * sizeof(Record) - t.object_bytes,
    }
    parts["the rest"] = t.size - sum(parts.values())
    return parts
