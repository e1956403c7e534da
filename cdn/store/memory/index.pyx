# The index: from a key to its record. Knows hashes, slots and access words; frees nothing, evicts nothing.

cdef enum:
    TAG_SHIFT = 40
    LOOKS = 4               # at two buckets that change while they are looked at
    LEVEL_BITS_AT = 24      # of the hash: above the tag's bits, below those that choose in the base

cdef uint64_t EXTENT_MASK = (<uint64_t> 1 << EXTENT_SHIFT) - 1
cdef uint64_t MOVING = <uint64_t> 1 << 39      # being copied elsewhere: good to be read, not to be held
cdef uint64_t GRANULE_MASK = MOVING - 1
cdef uint64_t TAG_MASK = ~(<uint64_t> 0) << TAG_SHIFT


cdef inline uint64_t slot_word(Space* s, const Record* r) noexcept nogil:
    return r.hash0 << TAG_SHIFT | granule_of(s, r)


cdef inline uint64_t buckets_now(Space* s) noexcept nogil:
    return load64_acquire(&s.top.extent) & EXTENT_MASK


cdef inline Bucket* bucket_at(Space* s, uint64_t number) noexcept nogil:
    if number < s.base_buckets:
        return s.index + number
    number -= s.base_buckets
    return <Bucket*> block_bytes(s, s.segments[number >> SEGMENT_SHIFT]) + (number & SEGMENT_MASK)


cdef inline uint64_t place_of_hash(Space* s, uint64_t h, uint64_t extent) noexcept nogil:
    """Linear hashing (Litwin, VLDB 1980): bucket b of the base has the descendants b + k * base_buckets, and k is as many
    bits of the hash as the index has doubled, one more where that bucket is there already."""
    cdef uint64_t mask = (<uint64_t> 2 << (extent >> EXTENT_SHIFT)) - 1
    cdef uint64_t base = fastrange(h, s.base_buckets)
    cdef uint64_t at = base + (h >> LEVEL_BITS_AT & mask) * s.base_buckets
    return at if at < extent & EXTENT_MASK else base + (h >> LEVEL_BITS_AT & mask >> 1) * s.base_buckets


cdef inline uint64_t other_hash(uint64_t h0) noexcept nogil:
    return h0 * 0x9e3779b97f4a7c15u


cdef inline Bucket* first_bucket(Space* s, uint64_t h0) noexcept nogil:
    return bucket_at(s, place_of_hash(s, h0, load64_acquire(&s.top.extent)))


cdef inline Bucket* second_bucket(Space* s, uint64_t h0) noexcept nogil:
    return bucket_at(s, place_of_hash(s, other_hash(h0), load64_acquire(&s.top.extent)))


cdef inline uint64_t bucket_number(Space* s, const Record* r, const Bucket* b) noexcept nogil:
    """Of one of the two buckets in which r's key may lie."""
    cdef uint64_t extent = load64_acquire(&s.top.extent)
    cdef uint64_t n = place_of_hash(s, r.hash0, extent)
    return n if bucket_at(s, n) == b else place_of_hash(s, other_hash(r.hash0), extent)


cdef inline bint same_key(const Record* r, uint64_t h0, const char* key, size_t n) noexcept nogil:
    return r.hash0 == h0 and r.key_len == n and memcmp(record_key(r), key, n) == 0


# hot
cdef Record* index_find(Space* s, uint64_t h0, const char* key, size_t n) noexcept nogil:
    """The record under a key. Without the lock it may be gone before it is read: `seen` says by what to tell."""
    cdef uint64_t extent = load64_acquire(&s.top.extent)
    cdef Record* r = find_within(s, h0, key, n, extent)
    while r == NULL and load64_acquire(&s.top.extent) != extent:
        # it may have gone to a bucket that was not there yet
        extent = load64_acquire(&s.top.extent)
        r = find_within(s, h0, key, n, extent)
    return r


# hot
cdef inline Record* find_within(Space* s, uint64_t h0, const char* key, size_t n, uint64_t extent) noexcept nogil:
    cdef Bucket* first = bucket_at(s, place_of_hash(s, h0, extent))
    cdef Bucket* second = bucket_at(s, place_of_hash(s, other_hash(h0), extent))
    cdef Bucket* b
    cdef uint64_t tag = h0 << TAG_SHIFT
    cdef uint64_t word
    cdef uint32_t version
    cdef uint32_t before[2]
    cdef Record* r
    cdef int i
    cdef int turn
    cdef int again
    prefetch(second)
    for again in range(LOOKS):
        before[0], before[1] = load32_acquire(&first.version), load32_acquire(&second.version)
        b = first
        for turn in range(2):
            version = load32_acquire(&b.version)
            for i in range(SLOTS):
                word = load64_acquire(&b.slot[i])
                if word and (word & TAG_MASK) == tag:
                    r = record_at(s, word & GRANULE_MASK)
                    if same_key(r, h0, key, n):
                        s.seen.bucket = b
                        s.seen.slot = i
                        s.seen.word = word
                        s.seen.version = version
                        return r
            b = second
        # it may have changed from the one to the other meanwhile
        if load32_acquire(&first.version) == before[0] and load32_acquire(&second.version) == before[1]:
            break
    return NULL


cdef int slot_of(Space* s, const Record* r, Bucket** bucket) noexcept nogil:
    """Which slot of which bucket points at r; -1 when none does."""
    cdef uint64_t word = slot_word(s, r)
    cdef int i
    bucket[0] = first_bucket(s, r.hash0)
    for i in range(SLOTS):
        if load64_acquire(&bucket[0].slot[i]) & ~MOVING == word:
            return i
    bucket[0] = second_bucket(s, r.hash0)
    for i in range(SLOTS):
        if load64_acquire(&bucket[0].slot[i]) & ~MOVING == word:
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
    store32_relaxed(&b.access[i], access)
    store64_release(&b.slot[i], slot_word(s, r))
    if replaces:
        add32_seq_cst(&b.version, 1)


cdef inline void clear_slot(Space* s, Bucket* b, int i) noexcept nogil:
    store64_release(&b.slot[i], 0)
    add32_seq_cst(&b.version, 1)
