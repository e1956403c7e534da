# The index grows with what is stored: bucket by bucket, into pages that were the bodies'. Knows where slots lie and how full
# they are; takes its pages by the same means as a body.
#
# A new bucket gets what now belongs there of the one bucket that it is a descendant of. What moves is published there first, then the
# extent says that the bucket is there, then the old slots are emptied: a reader without the lock finds it here or there, or sees that
# the extent has changed. It never shrinks.

cdef enum:
    FULL_OF_16 = 12         # of 16 slots taken: it grows
    STEPS_A_RECORD = 2      # buckets that one more record may add


cdef int64_t take_segment(Space* s) noexcept nogil:
    """An empty page for 2048 buckets more; -1: there is none to be had."""
    cdef Hunt h
    cdef int64_t page = tree_last(s, RUNS, PAGE_GRANULES)
    memset(&h, 0, sizeof(h))
    while page < 0:
        if not make_room(s, BLOCK_GRANULES, PAGE_GRANULES, &h):
            return -1
        page = tree_last(s, RUNS, PAGE_GRANULES)
    memset(page_bytes(s, <uint64_t> page), 0, PAGE_BYTES)
    return page


cdef void own_segment(Space* s, uint64_t segment) noexcept nogil:
    """Mark the page of a segment as what it is."""
    cdef uint64_t page = s.segments[segment]
    memset(page_bitmap(s, page), 0xff, PAGE_WORDS * sizeof(uint64_t))
    s.table[page].refs[0], s.table[page].refs[1] = <uint16_t> segment, <uint16_t> (segment >> 16)
    s.table[page].kind = PAGE_INDEX
    s.table[page].free = 0
    s.top.used_granules += PAGE_GRANULES


cdef inline uint64_t segments_now(Space* s) noexcept nogil:
    return (buckets_now(s) - s.base_buckets + SEGMENT_MASK) >> SEGMENT_SHIFT


cdef bint grow_index(Space* s) noexcept nogil:
    """One bucket more. False: there is no room, or it is as large as it may be."""
    cdef uint64_t extent = s.top.extent
    cdef uint64_t n = extent & EXTENT_MASK
    cdef uint64_t level = extent >> EXTENT_SHIFT
    cdef uint64_t offset = n - s.base_buckets
    cdef uint64_t word
    cdef int64_t page
    cdef Bucket* old
    cdef Bucket* fresh
    cdef Record* r
    cdef int i
    cdef bint moved[SLOTS]
    if n >= s.top.nbuckets:
        return False
    if offset & SEGMENT_MASK == 0:
        page = take_segment(s)
        if page < 0:
            return False
        s.segments[offset >> SEGMENT_SHIFT] = <uint32_t> page
        own_segment(s, offset >> SEGMENT_SHIFT)
        tree_set(s, RUNS, <uint64_t> page, 0)
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
        if not belongs(s, r, bucket_number(s, old), extent):
            moved[i] = True
            cdn_store32(&fresh.access[i], cdn_load32(&old.access[i]))
            cdn_store64(&fresh.slot[i], word)
            change_slot(s, r, n * SLOTS + i)
    cdn_step(STEP_SPLIT)
    cdn_store64(&s.top.extent, extent)
    cdn_fence()
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
        if s.top.objects * 16 < buckets_now(s) * SLOTS * FULL_OF_16 or not grow_index(s):
            return
