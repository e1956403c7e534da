# Does everything add up? Reads the pages and the index from end to end; changes nothing. For tests and for whoever
# suspects a store, not for the way of a request.


cdef str audit_tree(Space* s, int which):
    cdef uint64_t k
    cdef uint64_t at
    cdef uint64_t entries = rounded(s.top.npages, TREE_FANOUT)
    cdef uint16_t* node
    cdef uint16_t most
    cdef int i
    for k in range(1, s.top.levels):
        for at in range(entries // TREE_FANOUT):
            node = s.tree[which] + s.top.level[k - 1] + at * TREE_FANOUT
            most = 0
            for i in range(TREE_FANOUT):
                most = max(most, node[i])
            if s.tree[which][s.top.level[k] + at] != most:
                return f"tree {which} level {k} node {at}"
        entries = rounded(entries // TREE_FANOUT, TREE_FANOUT)
    return None


cdef set quarters_of(blocks):
    return {4 * block + i for block in blocks for i in range(4)}


cdef str audit_page(Space* s, uint64_t page, dict found):
    """What lies in one page, counted into `found`."""
    cdef const Page* p = &s.table[page]
    cdef const Span* spans = spans_of(s, page)
    cdef int kind = s.table[page].kind
    cdef int used = 0
    cdef int top = PAGE_GRANULES
    cdef int k
    cdef uint64_t i
    cdef Record* r
    cdef Bucket* b
    cdef uint16_t run = s.tree[RUNS][page]
    cdef uint16_t blocks = s.tree[BLOCKS][page]
    if kind == PAGE_BLOCK:
        for i in range(<uint64_t> PAGE_QUARTERS):
            if taken_of(s, page)[0] >> i & 1:
                used += QUARTER_GRANULES
                found["quarters"].add(page * PAGE_QUARTERS + i)
        for i in range(<uint64_t> PAGE_BLOCKS):
            blocks -= not block_taken(s, page * PAGE_BLOCKS + i)
        if run != 0 or s.tree[FREES][page] != 0 or blocks != 0 or used == 0:
            return f"page {page}: the trees do not know its blocks"
        if s.tree[LOOSE][page] != (PAGE_GRANULES - used) // QUARTER_GRANULES - 4 * s.tree[BLOCKS][page]:
            return f"page {page}: the tree does not know its quarters"
    elif kind == PAGE_RUNS or kind == PAGE_FREE:
        used = p.lines * LINE_GRANULES
        for k in range(<int> p.runs):
            r = record_of(s, page, k)
            if r.run == 0 or r.run != spans[k].n or spans[k].at + spans[k].n > top or spans[k].at < used:
                return f"page {page}: a run of {r.run} granules, listed as {spans[k].n} at {spans[k].at}, below {top}"
            top = spans[k].at
            if r.pins & PIN_FILLING:
                found["filling"] += 1
            else:
                found["retired" if r.pins & PIN_RETIRED else "published"] += 1
                found["pinned"] += (r.pins & PIN_COUNT) != 0 or in_tables(s, granule_of(s, r))
                if (slot_of(s, r, &b) < 0) != ((r.pins & PIN_RETIRED) != 0):
                    return f"page {page}: the record at {top} and the index do not agree"
                if r.body:
                    i = first_of(record_blocks(r)[0])
                    found["uses"][i] = found["uses"].get(i, 0) + 1
                    listed = [first_of(record_blocks(r)[j]) + n for j in range(r.stretches) for n in range(length_of(record_blocks(r)[j]))]
                    if len(set(listed)) != r.body:
                        return f"page {page}: a body of {r.body} blocks of which {len(set(listed))} are listed"
                    found["listed"].update(quarters_of(listed))
                for i in range(<uint64_t> r.quarters):
                    if record_quarters(r)[i] in found["own"]:
                        return f"page {page}: a quarter of two records"
                    found["own"].add(record_quarters(r)[i])
        used += sum([spans[k].n for k in range(<int> p.runs)])
        if run != longest_run(s, page) or p.runs > p.lines * LINE_SPANS or blocks != 0 or (kind == PAGE_FREE) != (used == 0):
            return f"page {page}: the trees do not know its runs"
        if s.tree[LOOSE][page] != 0 or s.tree[FREES][page] != (s.table[page].free if kind == PAGE_RUNS else 0):
            return f"page {page}: the tree does not know how much of it is free"
    else:
        return f"page {page}: left in the middle of something"
    if s.table[page].free != PAGE_GRANULES - used:
        return f"page {page}: {s.table[page].free} granules free, {PAGE_GRANULES - used} counted"
    found["granules"] += used
    return None


cdef str audit_queues(Space* s):
    """Every record of the index in the one place of a queue that names it, and nothing else in there."""
    cdef uint64_t live[2]
    cdef uint64_t weight[2]
    cdef uint64_t where
    cdef uint64_t at
    cdef uint64_t k
    cdef Record* r
    cdef Queue* q
    cdef int which
    if s.policy == POLICY_LRU:
        return None
    memset(live, 0, sizeof(live))
    memset(weight, 0, sizeof(weight))
    for where in range(buckets_now(s) * SLOTS):
        if bucket_at(s, where // SLOTS).slot[where % SLOTS] == 0:
            continue
        r = record_of_slot(s, where)
        which = queue_of(r)
        if which > 1:
            return f"slot {where}: its record is in no queue"
        at = r.place & NO_POSITION
        if (at == NO_POSITION) != (<uint64_t> which >= s.top.evict.rings):
            return f"slot {where}: its record has a position where there is no ring, or none where there is one"
        if at != NO_POSITION and (at >= s.top.evict.room[which] or ring_at(s, which, at)[0] != where):
            return f"slot {where}: the ring of queue {which} says {ring_at(s, which, at)[0]} at {at}"
        live[which] += 1
        weight[which] += weight_of(r)
    for which in range(2):
        q = &s.top.evict.queue[which]
        if q.live != live[which] or q.bytes != weight[which]:
            return f"queue {which}: {q.live} records of {q.bytes} bytes counted, {live[which]} of {weight[which]} found"
        at = 0
        for k in range(q.length):
            at += ring_at(s, which, around(s, which, q.first + k))[0] != HOLE
        if <uint64_t> which < s.top.evict.rings and at != q.live:
            return f"queue {which}: {at} places taken for {q.live} records"
    return None


cdef dict audit_space(Space* s):
    cdef dict found = {
        "published": 0, "retired": 0, "filling": 0, "pinned": 0, "granules": 0,
        "quarters": set(), "listed": set(), "own": set(), "uses": {},
    }
    cdef uint64_t page
    cdef uint64_t slots = 0
    cdef int which
    cdef str fault
    for page in range(buckets_now(s) * SLOTS):
        slots += bucket_at(s, page // SLOTS).slot[page % SLOTS] != 0
    fault = audit_tree(s, RUNS) or audit_tree(s, BLOCKS) or audit_tree(s, FREES) or audit_tree(s, LOOSE) or audit_queues(s)
    for page in range(s.top.npages):
        fault = fault or audit_page(s, page, found)
    tables = [s.segments[page] for page in range(segments_now(s))]
    for which in range(TABLES):
        tables += [table_segments(s, which)[page] for page in range(s.top.tables[which].blocks)]
    if not fault and (len(set(tables)) != len(tables) or not found["listed"].isdisjoint(quarters_of(tables))):
        fault = "a part of a table lies in another one's block, or in a body's"
    found["listed"].update(quarters_of(tables))
    if not fault and not found["listed"].isdisjoint(found["own"]):
        fault = "a quarter of one body lies in another one's block, or in a table's"
    found["listed"].update(found["own"])
    if not fault and not slots == found["published"] == s.top.objects:
        fault = f"{slots} slots, {found['published']} records, {s.top.objects} objects counted"
    if not fault and s.top.loose != sum([s.tree[LOOSE][page] for page in range(s.top.npages)]):
        fault = f"{s.top.loose} loose quarters counted"
    if not fault and s.top.idle != sum([s.tree[LOOSE][page] + 4 * s.tree[BLOCKS][page] for page in range(s.top.npages)]):
        fault = f"{s.top.idle} idle quarters counted"
    if not fault and found["granules"] != s.top.used_granules:
        fault = f"{found['granules']} granules in use, {s.top.used_granules} counted"
    if not fault and not found["listed"] <= found["quarters"]:
        fault = "a body lies in blocks that count as free"
    for block, uses in found["uses"].items():
        if not fault and block_refs(s, block)[0] != uses:
            fault = f"block {block} is used by {uses} records and counts {block_refs(s, block)[0]}"
    if fault:
        raise ValueError(f"the memory store is not consistent: {fault}")
    return {
        "published": found["published"], "retired": found["retired"], "pinned": found["pinned"],
        "filling_runs": found["filling"], "filling_blocks": (len(found["quarters"]) - len(found["listed"])) // 4,
    }
