# The index and other tables grow with what is stored, into blocks that were the bodies'; the index bucket by bucket. Knows where
# slots lie and how full they are; takes blocks by the same means as a body.
#
# A new bucket gets what now belongs there of the one bucket that it is a descendant of. What moves is published there first, then the
# extent says that the bucket is there, then the old slots are emptied: a reader without the lock finds it here or there, or sees that
# the extent has changed. It never shrinks.

cdef enum:
    FULL_OF_16 = 13         # of 16 slots taken: it grows
    STEPS_A_RECORD = 2      # buckets that one more record may add


cdef int64_t take_segment(Space* s) noexcept nogil:
    """A block for 256 buckets more, or for another table, zero; -1: there is none to be had."""
    cdef int64_t block = make_block(s, -1, 0)
    if block >= 0:
        memset(block_bytes(s, <uint64_t> block), 0, BLOCK_BYTES)
    return block


cdef inline uint64_t segments_now(Space* s) noexcept nogil:
    return (buckets_now(s) - s.base_buckets + SEGMENT_MASK) >> SEGMENT_SHIFT


cdef bint grow_index(Space* s) noexcept nogil:
    """One bucket more. False: there is no room, or it is as large as it may be."""
    cdef uint64_t extent = s.top.extent
    cdef uint64_t n = extent & EXTENT_MASK
    cdef uint64_t level = extent >> EXTENT_SHIFT
    cdef uint64_t offset = n - s.base_buckets
    cdef uint64_t word
    cdef int64_t block
    cdef Bucket* old
    cdef Bucket* fresh
    cdef Record* r
    cdef int i
    cdef bint moved[SLOTS]
    if n >= s.top.nbuckets:
        return False
    if offset & SEGMENT_MASK == 0:
        block = take_segment(s)
        if block < 0:
            return False
        s.segments[offset >> SEGMENT_SHIFT] = <uint32_t> block
        cdn_step(STEP_SEGMENT_TAKEN)
    if n == s.base_buckets << (level + 1):
        level += 1
    extent = level << EXTENT_SHIFT | (n + 1)
    old = bucket_at(s, n - (s.base_buckets << level))
    fresh = bucket_at(s, n)
    for i in range(SLOTS):
        word = old.slot[i]
        moved[i] = False
        fresh.slot[i] = 0       # whoever died here has left something
        if word == 0:
            continue
        r = record_at(s, word & GRANULE_MASK)
        if not belongs(s, r, n - (s.base_buckets << level), extent):
            moved[i] = True
            store32_relaxed(&fresh.access[i], load32_relaxed(&old.access[i]))
            store64_release(&fresh.slot[i], word)
            change_slot(s, r, n * SLOTS + i)
    cdn_step(STEP_SPLIT)
    store64_release(&s.top.extent, extent)
    fence_seq_cst()
    cdn_step(STEP_EXTENDED)
    for i in range(SLOTS):
        if moved[i]:
            clear_slot(s, old, i)
    return True


cdef inline bint belongs(Space* s, const Record* r, uint64_t bucket, uint64_t extent) noexcept nogil:
    return (place_of_hash(s, r.hash0, extent) == bucket
            or place_of_hash(s, other_hash(r.hash0), extent) == bucket)


cdef void grow_for_one(Space* s) noexcept nogil:
    """A record is about to come."""
    cdef int i
    for i in range(STEPS_A_RECORD):
        if (s.top.objects * 16 < buckets_now(s) * SLOTS * FULL_OF_16 or s.top.extent & EXTENT_MASK >= s.top.nbuckets
                or not widen_rings(s) or not grow_index(s)):
            return
        grow_ghosts(s)


# -- the other tables: fills, rings and ghosts begin small, too ------------------------------------------------------

cdef inline uint32_t* table_segments(Space* s, int which) noexcept nogil:
    return <uint32_t*> (s.base + s.top.tables[which].segments)


cdef inline char* table_block(Space* s, int which, uint64_t number) noexcept nogil:
    return block_bytes(s, table_segments(s, which)[number])


cdef uint64_t table_blocks(Space* s) noexcept nogil:
    cdef uint64_t sum = 0
    cdef int which
    for which in range(TABLES):
        sum += s.top.tables[which].blocks
    return sum


cdef bint lengthen(Space* s, int which) noexcept nogil:
    """A block more for a table, zero. False: there is no room, or it is as long as it may be."""
    cdef Table* t = &s.top.tables[which]
    cdef int64_t block = -1 if t.blocks == t.most else take_segment(s)
    if block < 0:
        return False
    table_segments(s, which)[t.blocks] = <uint32_t> block
    cdn_step(STEP_TABLE_TAKEN)
    t.blocks += 1
    return True
