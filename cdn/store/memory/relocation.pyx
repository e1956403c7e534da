# Moving a record to another run while others read it: so that nobody takes hold of it meanwhile, and so that it can be read at any
# instant. Must not know why it is moved, or where to.


cdef bint arrest(Space* s, Record* r) noexcept nogil:
    """See to it that nobody takes hold of r from now on. False: somebody has, and nothing has changed."""
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    store64_release(&b.slot[i], slot_word(s, r) | MOVING)
    fence_seq_cst()
    if in_tables(s, granule_of(s, r)):
        store64_release(&b.slot[i], slot_word(s, r))
        return False
    return True


cdef void move_record(Space* s, Record* r, Record* to) noexcept nogil:
    """Copy an arrested record, then turn the slot over. The old run is the caller's to free."""
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    cdef uint32_t access = load32_relaxed(&b.access[i])
    memcpy(to, r, <size_t> r.run * GRANULE)
    cdn_step(STEP_COPIED)
    point(s, b, i, to, access)
    cdn_step(STEP_MOVED)
    s.top.moved += 1


cdef void bounce(Space* s, Record* r, Record* to, Span* span, int at) noexcept nogil:
    """The same where the new place overlaps the old one: by way of a third, from which it can be read meanwhile."""
    cdef Record* third = <Record*> (s.base + s.top.bounce)
    cdef size_t n = <size_t> r.run * GRANULE
    cdef Bucket* b
    cdef int i = slot_of(s, r, &b)
    cdef uint32_t access = load32_relaxed(&b.access[i])
    memcpy(third, r, n)
    cdn_step(STEP_COPIED)
    store64_release(&b.slot[i], slot_word(s, third) | MOVING)
    add32_seq_cst(&b.version, 1)
    cdn_step(STEP_BOUNCED)
    span.at = at
    memcpy(to, third, n)
    point(s, b, i, to, access)
    cdn_step(STEP_MOVED)
    s.top.moved += 1
