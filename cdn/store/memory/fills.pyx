# The table of fills: what all workers must know of a body on its way in, and where it lies. The lock is held wherever
# something is taken, found under a key or given back; who writes and reads the bytes is in filler.pyx and follower.pyx.


cdef enum:
    FILLS_A_BLOCK = 93       # slots


cdef inline FillSlot* fill_slot(Space* s, uint64_t number) noexcept nogil:
    if number < FILL_BASE:
        return <FillSlot*> (s.base + s.top.fills) + number
    number -= FILL_BASE
    return <FillSlot*> table_block(s, TABLE_FILLS, number // FILLS_A_BLOCK) + number % FILLS_A_BLOCK


cdef inline uint32_t* fill_tags(Space* s) noexcept nogil:
    return <uint32_t*> (s.base + s.top.fill_tags)


cdef inline uint16_t* fill_numbers(Space* s) noexcept nogil:
    return <uint16_t*> (s.base + s.top.fill_numbers)


cdef inline FillSlot* fill_at(Space* s, uint64_t i) noexcept nogil:
    """The one whose tag is there, or NULL."""
    return fill_slot(s, fill_numbers(s)[i]) if fill_tags(s)[i] else NULL


cdef FillSlot* next_fill(Space* s, uint64_t* place) noexcept nogil:
    """The first fill whose tag is at `place` or behind it, which goes on behind that; NULL: there is none."""
    cdef FillSlot* f
    while place[0] < s.top.nfills:
        f = fill_at(s, place[0])
        place[0] += 1
        if f != NULL:
            return f
    return NULL


cdef uint64_t fill_slots(Space* s) noexcept nogil:
    return FILL_BASE + s.top.tables[TABLE_FILLS].blocks * FILLS_A_BLOCK


cdef void link_fills(Space* s, uint64_t first, uint64_t n) noexcept nogil:
    """So many slots from one on are free; the first of them is the first to be taken."""
    while n:
        n -= 1
        fill_slot(s, first + n).next = <uint32_t> s.top.fill_free
        s.top.fill_free = first + n + 1


cdef inline uint64_t fill_place(Space* s, uint64_t h0, uint64_t k) noexcept nogil:
    cdef uint64_t i = fastrange(h0, s.top.nfills) + k
    return i if i < s.top.nfills else i - s.top.nfills


cdef inline Record* fill_run(Space* s, const FillSlot* f) noexcept nogil:
    return record_at(s, load64_acquire(&f.run))


cdef inline uint64_t own_bit(Space* s) noexcept nogil:
    return 0 if s.me < 0 else <uint64_t> 1 << s.me


cdef inline uint32_t own_name(Space* s) noexcept nogil:
    return <uint32_t> s.me      # 0xffffffff: a process that is not attached


cdef FillSlot* find_fill(Space* s, uint64_t h0, const char* key, size_t n) noexcept nogil:
    """The fill that others may join under this key."""
    cdef const uint32_t* tags = fill_tags(s)
    cdef FillSlot* f
    cdef uint64_t k
    cdef uint64_t at
    for k in range(FILL_WINDOW):
        at = fill_place(s, h0, k)
        if tags[at] == <uint32_t> h0 | 1:
            f = fill_at(s, at)
            # purged first, and not to be found under its key only then: who follows it already would follow it twice
            if (f.flags & (FILL_REGISTERED | FILL_PURGED) == FILL_REGISTERED and f.era == load64_acquire(&s.top.era)
                    and same_key(fill_run(s, f), h0, key, n)):
                return f
    return NULL


cdef uint64_t registered_fills(Space* s) noexcept nogil:
    cdef uint64_t n = 0
    cdef uint64_t place = 0
    cdef FillSlot* f = next_fill(s, &place)
    while f != NULL:
        n += f.flags & FILL_REGISTERED != 0
        f = next_fill(s, &place)
    return n


cdef FillSlot* new_fill(Space* s, uint64_t h0, const char* key, size_t n) noexcept nogil:
    """A slot and a run with the key in it. NULL: the table is full there, or the store of what cannot go."""
    cdef const uint32_t* tags = fill_tags(s)
    cdef FillSlot* f
    cdef uint64_t k
    cdef uint64_t number
    cdef Record* r
    for k in range(FILL_WINDOW):
        if tags[fill_place(s, h0, k)] == 0:
            break
    else:
        return NULL
    if n > 0xffff:
        return NULL
    if s.top.fill_free == 0:
        number = fill_slots(s)
        if not lengthen(s, TABLE_FILLS):
            return NULL
        link_fills(s, number, FILLS_A_BLOCK)
    r = make_run(s, granules(sizeof(Record) + n))
    if r == NULL:
        return NULL
    number = s.top.fill_free - 1
    f = fill_slot(s, number)
    s.top.fill_free = f.next
    memset(f, 0, sizeof(FillSlot))
    f.place = <uint32_t> fill_place(s, h0, k)
    fill_numbers(s)[f.place] = <uint16_t> number
    r.hash0 = h0
    r.key_len, r.head_len, r.meta_len, r.body, r.quarters, r.stretches = n, 0, 0, 0, 0, 0
    memcpy(<char*> (r + 1), key, n)
    f.run = granule_of(s, r)
    s.top.serial += 1
    f.serial = s.top.serial
    f.era = s.top.era
    f.hash0 = h0
    f.length = ~(<uint64_t> 0)
    f.owner = own_name(s)
    f.flags = FILL_REGISTERED
    s.top.filling += 1
    cdn_step(STEP_FILL_BEGUN)
    fill_tags(s)[f.place] = <uint32_t> h0 | 1
    return f


cdef inline uint32_t* fill_list(Space* s, const FillSlot* f) noexcept nogil:
    """The number of the block at index i of the body is at i - f.base."""
    return record_blocks(fill_run(s, f))


cdef uint64_t fill_number(Space* s, const FillSlot* f, uint64_t at) noexcept nogil:
    """The same of one that may have been laid out for publishing already."""
    cdef const Record* r = fill_run(s, f)
    cdef const uint32_t* list = record_blocks(r)
    cdef uint64_t i = 0
    if r.stretches == r.body:
        return first_of(list[at - f.base])
    while i < r.stretches and at >= length_of(list[i]):
        at -= length_of(list[i])
        i += 1
    return first_of(list[i]) + at if i < r.stretches else STRETCH_MASK


cdef inline char* fill_block(Space* s, const FillSlot* f, uint64_t offset) noexcept nogil:
    return block_bytes(s, fill_list(s, f)[offset // BLOCK_BYTES - f.base]) + offset % BLOCK_BYTES


cdef inline uint64_t fill_whole(Space* s, const FillSlot* f) noexcept nogil:
    """Bytes from here on lie in the run."""
    return (<uint64_t> fill_run(s, f).body + f.base) * BLOCK_BYTES


cdef void fill_copy(Space* s, const FillSlot* f, uint64_t offset, char* to, uint64_t n) noexcept nogil:
    """Bytes that have arrived; of a published one too."""
    cdef const Record* r = fill_run(s, f)
    cdef uint64_t whole = (<uint64_t> r.body + f.base) * BLOCK_BYTES
    cdef uint64_t here
    if r.quarters or r.stretches != r.body:     # published
        copy_body(s, r, offset, to, n)
        return
    while n:
        if offset >= whole:
            memcpy(to, record_body(r) + (offset - whole), n)
            return
        here = BLOCK_BYTES - offset % BLOCK_BYTES
        if here > n:
            here = n
        memcpy(to, block_bytes(s, record_blocks(r)[offset // BLOCK_BYTES - f.base]) + offset % BLOCK_BYTES, here)
        to += here
        offset += here
        n -= here


cdef void outgrow(Space* s, FillSlot* f, Record* r) noexcept nogil:
    """Another run takes the place of r; followers may still be reading r."""
    cdef int i
    if f.followers:
        for i in range(OLD_RUNS):
            if f.old[i] == 0:
                f.old[i] = granule_of(s, r)
                return
    give_run(s, r)


cdef void give_blocks(Space* s, FillSlot* f, uint32_t upto) noexcept nogil:
    """Those of the body before index `upto`."""
    while f.gone < upto:
        give_block(s, fill_number(s, f, f.gone))
        f.gone += 1


cdef void free_fill(Space* s, FillSlot* f) noexcept nogil:
    """Nobody owns it and nobody follows it: what it holds is given back."""
    cdef Record* r = fill_run(s, f)
    cdef int i
    if f.flags & FILL_PUBLISHED:
        and32_seq_cst(&r.pins, ~<uint32_t> PIN_FOLLOWED)
        if load32_relaxed(&r.pins) == PIN_RETIRED and not held(s, r):
            free_retired(s, r)
    else:
        give_blocks(s, f, f.nblocks)
        free_quarters(s, r)
        give_run(s, r)
    for i in range(OLD_RUNS):
        if f.old[i]:
            give_run(s, record_at(s, f.old[i]))
    if f.extra:
        give_block(s, f.extra - 1)
    cdn_step(STEP_FILL_FREED)
    s.top.filling -= 1
    fill_tags(s)[f.place] = 0
    f.next = <uint32_t> s.top.fill_free
    s.top.fill_free = fill_numbers(s)[f.place] + 1


cdef void disown(Space* s, FillSlot* f) noexcept nogil:
    """Its owner is done with it."""
    f.owner = NO_OWNER
    f.flags &= ~<uint32_t> (FILL_REGISTERED | FILL_LEFT)
    if f.followers == 0:
        free_fill(s, f)


cdef void unfollow(Space* s, FillSlot* f, uint64_t bit) noexcept nogil:
    and64_seq_cst(&f.leaving, ~bit)
    and64_seq_cst(&f.followers, ~bit)
    if f.followers == 0 and f.owner == NO_OWNER:
        free_fill(s, f)


cdef void pay_fills(Space* s) noexcept nogil:
    """What could not be said while the lock was not to be had."""
    cdef uint64_t bit = own_bit(s)
    cdef uint64_t place = 0
    cdef FillSlot* f = next_fill(s, &place)
    while f != NULL:
        if f.leaving & bit:
            unfollow(s, f, bit)
        elif f.owner == own_name(s) and f.flags & FILL_LEFT:
            disown(s, f)
        f = next_fill(s, &place)


cdef void set_reason(FillSlot* f, const char* text, size_t n) noexcept nogil:
    if n >= REASON:
        n = REASON - 1
    memcpy(f.reason, text, n)
    f.reason[n] = 0


cdef void lose_fills(Space* s, int worker) noexcept nogil:
    """That worker is dead: its fills are void, and it follows none."""
    cdef uint64_t bit = <uint64_t> 1 << worker
    cdef uint64_t place = 0
    cdef FillSlot* f = next_fill(s, &place)
    while f != NULL:
        if f.owner == <uint32_t> worker:
            if f.state <= S_STREAMING:
                set_reason(f, b"lost", 4)
                f.flags |= FILL_LOST
                store32_relaxed(&f.state, S_ABORTED)
            f.owner = NO_OWNER
            f.flags &= ~<uint32_t> FILL_REGISTERED
            wake_all(s, load64_acquire(&f.followers) & ~bit)
        unfollow(s, f, bit)
        f = next_fill(s, &place)


cdef void void_fills(Space* s, const char* prefix, size_t n) noexcept nogil:
    """A purge of every key that begins so: nobody joins them, and they will not be stored."""
    cdef uint64_t place = 0
    cdef FillSlot* f = next_fill(s, &place)
    cdef Record* r
    while f != NULL:
        r = fill_run(s, f)
        if f.flags & FILL_REGISTERED and r.key_len >= n and memcmp(record_key(r), prefix, n) == 0:
            void_slot(f)
        f = next_fill(s, &place)


cdef inline void void_slot(FillSlot* f) noexcept nogil:
    set_reason(f, b"purged", 6)
    f.flags = (f.flags | FILL_PURGED) & ~<uint32_t> FILL_REGISTERED
