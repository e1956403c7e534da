# Who holds a record, so that its memory is not used again. Knows tables, granules and counts; not what lies in a record.
#
# A process that is attached keeps its pins in its own table in the mapping, where those who free memory look and which
# can be cleared when it dies: the granule of each record it holds, once; how often is its own affair. A granule may lie in
# either of two lines. A process that is not attached counts in the record.
#
# Taking one without the lock:   enter the granule, fence, look whether the slot still says what it said.
# Freeing:                       empty the slot, mark the record retired, fence, look into all tables.
# Whichever of the two comes second sees the other.


cdef inline uint64_t* pin_line(Space* s, int worker, uint64_t granule, int turn) noexcept nogil:
    cdef uint64_t at = fastrange(granule * 0x9e3779b97f4a7c15u, s.top.pin_lines) + <uint64_t> turn
    if at >= s.top.pin_lines:
        at -= s.top.pin_lines
    return <uint64_t*> (s.base + s.top.pins) + (<uint64_t> worker * s.top.pin_lines + at) * PIN_WAYS


cdef bint in_tables(Space* s, uint64_t granule) noexcept nogil:
    """Whether any worker's table has it. The caller has made sure that nobody new can find it, and fenced."""
    cdef uint64_t worker
    cdef uint64_t* line
    cdef int turn
    cdef int i
    for worker in range(load64_acquire(&s.top.highest)):
        for turn in range(2):
            line = pin_line(s, <int> worker, granule, turn)
            for i in range(PIN_WAYS):
                if load64_acquire(&line[i]) == granule:
                    return True
    return False


cdef inline bint held(Space* s, const Record* r) noexcept nogil:
    """By a pin, a fill or a fill's followers."""
    return (load32_relaxed(&r.pins) & ~<uint32_t> PIN_RETIRED) != 0 or in_tables(s, granule_of(s, r))


cdef uint64_t* own_pin(Space* s, uint64_t granule) noexcept nogil:
    """Where our table has it, or could have it; NULL: both lines are full."""
    cdef uint64_t* free = NULL
    cdef uint64_t* line
    cdef int turn
    cdef int i
    for turn in range(2):
        line = pin_line(s, s.me, granule, turn)
        for i in range(PIN_WAYS):
            if line[i] == granule:
                return &line[i]
            if line[i] == 0 and free == NULL:
                free = &line[i]
    return free


cdef inline uint32_t* pin_count(Space* s, const uint64_t* pin) noexcept nogil:
    return s.pin_counts + (pin - <uint64_t*> (s.base + s.top.pins) - s.me * <int64_t> s.top.pin_lines * PIN_WAYS)


# hot
cdef uint64_t* enter_pin(Space* s, Record* r) noexcept nogil:
    """In our own table; NULL: too much is held."""
    cdef uint64_t* pin = own_pin(s, granule_of(s, r))
    if pin != NULL:
        if pin_count(s, pin)[0] == 0:
            store64_release(pin, granule_of(s, r))
        pin_count(s, pin)[0] += 1
    return pin


# hot
cdef inline void weigh_pin(Space* s, const Record* r, int sign) noexcept nogil:
    """We hold r's memory from now on, or no more; r is what it says it is."""
    cdef uint64_t* pinned = &worker_slot(s, s.me).pinned
    store64_release(pinned, pinned[0] + sign * <int64_t> (weight_of(r) >> GRANULE_SHIFT))


# hot
cdef bint pin_record(Space* s, Record* r) noexcept nogil:
    """Hold what nobody frees just now: the lock is held, or it is held already. False: too much is held."""
    cdef uint64_t* pin
    if s.me < 0:
        add32_seq_cst(&r.pins, 1)
        return True
    pin = enter_pin(s, r)
    if pin == NULL:
        return False
    if pin_count(s, pin)[0] == 1:
        weigh_pin(s, r, 1)
    return True


# hot
cdef bint pin_seen(Space* s, Record* r) noexcept nogil:
    """Hold what `index_find` has just found. False: it is not there any more, it is being moved, or too much is held."""
    cdef uint64_t* pin
    if s.me < 0:
        return pin_record(s, r)
    if s.seen.word & MOVING:        # who moves it has looked into the tables already
        return False
    pin = enter_pin(s, r)
    if pin == NULL:
        return False
    cdn_step(STEP_PINNED)
    fence_seq_cst()
    if load64_acquire(&s.seen.bucket.slot[s.seen.slot]) == s.seen.word and load32_relaxed(&s.seen.bucket.version) == s.seen.version:
        if pin_count(s, pin)[0] == 1:
            weigh_pin(s, r, 1)
        return True
    leave_pin(s, r, False)
    return False


# hot
cdef void unpin_record(Space* s, Record* r) noexcept nogil:
    if s.me < 0:
        if add32_seq_cst(&r.pins, <uint32_t> -1) == PIN_RETIRED and take_lock(s, LONG_WAIT):
            if r.pins == PIN_RETIRED:
                free_retired(s, r)
            drop_lock(s)
        return
    leave_pin(s, r, True)


# hot
cdef void leave_pin(Space* s, Record* r, bint weighed) noexcept nogil:
    cdef uint64_t granule = granule_of(s, r)
    cdef uint64_t* pin = own_pin(s, granule)
    pin_count(s, pin)[0] -= 1
    if pin_count(s, pin)[0]:
        return
    if weighed:
        weigh_pin(s, r, -1)
    if not load32_relaxed(&r.pins) & PIN_RETIRED:
        store64_release(pin, 0)
        fence_seq_cst()
        if not load32_relaxed(&r.pins) & PIN_RETIRED:
            return
        store64_release(pin, granule)       # so that it is found should we die before it is freed
    s.owing = True
    if take_lock(s, LOCK_WAIT):         # which pays
        drop_lock(s)


cdef void free_if_retired(Space* s, uint64_t granule) noexcept nogil:
    """Free the record there if it has left the index and nobody holds it; the lock is held.

    The memory may have become something else long ago, so that only the page says whether a run begins there.
    """
    cdef Record* r = record_at(s, granule)
    cdef int kind
    if <char*> r < s.pages or <char*> r >= s.pages + s.top.npages * PAGE_BYTES:
        return
    kind = s.table[page_of(s, r)].kind
    if kind != PAGE_RUNS and kind != PAGE_CLEARING:
        return
    if span_of(s, r) >= 0 and load32_relaxed(&r.pins) == PIN_RETIRED and not in_tables(s, granule):
        free_retired(s, r)


cdef void pay_pins(Space* s) noexcept nogil:
    """Give back what was let go while the lock was not to be had."""
    cdef uint64_t n = s.top.pin_lines * PIN_WAYS
    cdef uint64_t* pin = <uint64_t*> (s.base + s.top.pins) + <uint64_t> s.me * n
    cdef uint64_t granule
    cdef uint64_t i
    for i in range(n):
        granule = pin[i]
        if granule and s.pin_counts[i] == 0:
            store64_release(&pin[i], 0)
            fence_seq_cst()
            free_if_retired(s, granule)


cdef void clear_pins(Space* s, int worker) noexcept nogil:
    """What a dead worker held is free; the lock is held."""
    cdef uint64_t n = s.top.pin_lines * PIN_WAYS
    cdef uint64_t* pin = <uint64_t*> (s.base + s.top.pins) + <uint64_t> worker * n
    cdef uint64_t granule
    cdef uint64_t i
    store64_release(&worker_slot(s, worker).pinned, 0)
    for i in range(n):
        granule = pin[i]
        if granule:
            store64_release(&pin[i], 0)
            fence_seq_cst()
            free_if_retired(s, granule)


cdef uint64_t pinned_granules(Space* s) noexcept nogil:
    """What the workers hold, all told; what several of them hold counts for each."""
    cdef uint64_t sum = 0
    cdef uint64_t worker
    for worker in range(load64_acquire(&s.top.highest)):
        sum += load64_acquire(&worker_slot(s, <int> worker).pinned)
    return sum


cdef void tell_crowded(Space* s) noexcept nogil:
    """Room is wanted: wake the workers if they hold more than they may. Once, and again when it has got much worse."""
    cdef uint64_t pinned = pinned_granules(s)
    cdef uint64_t told = load64_acquire(&s.top.pinned_told)
    cdef uint64_t workers = 0
    cdef uint64_t worker
    if pinned > s.top.pinned_most and (told <= s.top.pinned_most or pinned > told + s.top.pinned_most // 16):
        store64_release(&s.top.pinned_told, pinned)
        for worker in range(load64_acquire(&s.top.highest)):
            if load32_relaxed(&worker_slot(s, <int> worker).attached):
                workers |= <uint64_t> 1 << worker
        wake_all(s, workers)
    elif pinned < told:
        store64_release(&s.top.pinned_told, pinned)
