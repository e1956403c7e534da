# The index: from a key to its record. Knows hashes, slots and access words; frees nothing, evicts nothing.

cdef enum:
    TAG_SHIFT = 40

cdef uint64_t MOVING = <uint64_t> 1 << 39      # being copied elsewhere: good to be read, not to be held
cdef uint64_t GRANULE_MASK = MOVING - 1
cdef uint64_t TAG_MASK = ~(<uint64_t> 0) << TAG_SHIFT


cdef inline uint64_t slot_word(Space* s, const Record* r) noexcept nogil:
    return r.hash0 << TAG_SHIFT | granule_of(s, r)


cdef inline Bucket* first_bucket(Space* s, uint64_t h0) noexcept nogil:
    return s.index + cdn_spread(h0, s.top.nbuckets)


cdef inline Bucket* second_bucket(Space* s, uint64_t h0) noexcept nogil:
    return s.index + cdn_spread(h0 * 0x9e3779b97f4a7c15u, s.top.nbuckets)


cdef inline bint same_key(const Record* r, uint64_t h0, const char* key, size_t n) noexcept nogil:
    return r.hash0 == h0 and r.key_len == n and memcmp(record_key(r), key, n) == 0


# hot
cdef Record* index_find(Space* s, uint64_t h0, const char* key, size_t n) noexcept nogil:
    """The record under a key. Without the lock it may be gone before it is read: `seen` says by what to tell."""
    cdef Bucket* b = first_bucket(s, h0)
    cdef Bucket* other = second_bucket(s, h0)
    cdef uint64_t tag = h0 << TAG_SHIFT
    cdef uint64_t word
    cdef uint32_t version
    cdef Record* r
    cdef int i
    cdef int turn
    cdn_prefetch(other)
    for turn in range(2):
        version = cdn_acquire32(&b.version)
        for i in range(SLOTS):
            word = cdn_load64(&b.slot[i])
            if word and (word & TAG_MASK) == tag:
                r = record_at(s, word & GRANULE_MASK)
                if same_key(r, h0, key, n):
                    s.seen.bucket = b
                    s.seen.slot = i
                    s.seen.word = word
                    s.seen.version = version
                    return r
        b = other
    return NULL


cdef int slot_of(Space* s, const Record* r, Bucket** bucket) noexcept nogil:
    """Which slot of which bucket points at r; -1 when none does."""
    cdef uint64_t word = slot_word(s, r)
    cdef int i
    bucket[0] = first_bucket(s, r.hash0)
    for i in range(SLOTS):
        if cdn_load64(&bucket[0].slot[i]) & ~MOVING == word:
            return i
    bucket[0] = second_bucket(s, r.hash0)
    for i in range(SLOTS):
        if cdn_load64(&bucket[0].slot[i]) & ~MOVING == word:
            return i
    return -1


cdef int empty_slot(Space* s, const Record* r, Bucket** bucket) noexcept nogil:
    """An empty slot for r's key in the emptier of its buckets; -1 when both are full."""
    cdef Bucket* b[2]
    cdef int free[2]
    cdef int at[2]
    cdef int turn
    cdef int i
    b[0] = first_bucket(s, r.hash0)
    b[1] = second_bucket(s, r.hash0)
    for turn in range(2):
        free[turn] = 0
        at[turn] = -1
        for i in range(SLOTS):
            if b[turn].slot[i] == 0:
                free[turn] += 1
                at[turn] = i
    turn = 1 if free[1] > free[0] else 0
    bucket[0] = b[turn]
    return at[turn]


cdef inline uint32_t access_stamp(int64_t now) noexcept nogil:
    return <uint32_t> (<uint64_t> now >> ACCESS_SHIFT)


cdef inline uint64_t payload(const Record* r) noexcept nogil:
    return r.key_len + r.head_len + r.meta_len + r.body_length


cdef inline void point(Space* s, Bucket* b, int i, Record* r, uint32_t access) noexcept nogil:
    """Publish r in a slot, empty or not: the one store that makes it visible."""
    cdef bint replaces = b.slot[i] != 0
    cdn_store32(&b.access[i], access)
    cdn_store64(&b.slot[i], slot_word(s, r))
    if replaces:
        cdn_add32(&b.version, 1)


cdef inline void clear_slot(Space* s, Bucket* b, int i) noexcept nogil:
    cdn_store64(&b.slot[i], 0)
    cdn_add32(&b.version, 1)
