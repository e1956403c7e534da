# The places of segments: which segment files there are, in what state, and whose. Must not know slots or files.
#
# What a dead process was writing or clearing counts as sealed.

cdef inline Seg* segs_of(Top* top) noexcept nogil:
    return <Seg*> (<char*> top + top.segments)


cdef int take_place(Top* top, uint64_t* number, int state) noexcept nogil:
    """A free place for a segment in that state, of this process; -1: there is none. A `number` of 0 becomes the next."""
    cdef Seg* seg = segs_of(top)
    cdef int i
    cdef int found = -1
    lock(top)
    for i in range(<int> top.nsegments):
        if seg[i].state == SEG_FREE:
            found = i
            break
    if found >= 0:
        if number[0] == 0:
            number[0] = top.number + 1
        top.number = max(top.number, number[0])
        seg[found].number = number[0]
        seg[found].oldest = <uint64_t> INT64_MAX
        seg[found].owner = getpid()
        seg[found].state = state
    unlock(top)
    return found


cdef inline void begin_leaving(Seg* seg) noexcept nogil:
    seg.state = SEG_LEAVING
    seg.owner = getpid()


cdef inline bint may_leave(const Seg* seg) noexcept nogil:
    """Whether nobody alive writes or clears it."""
    return seg.state == SEG_SEALED or (seg.state != SEG_FREE and not alive(seg.owner))


cdef int leave_oldest(Top* top) noexcept nogil:
    """The segment with the lowest number that may leave is this process's to clear; -1: there is none."""
    cdef Seg* seg = segs_of(top)
    cdef int i
    cdef int best = -1
    lock(top)
    for i in range(<int> top.nsegments):
        if (best < 0 or seg[i].number < seg[best].number) and may_leave(seg + i):
            best = i
    if best >= 0:
        begin_leaving(seg + best)
    unlock(top)
    return best


cdef bint leave_this(Top* top, int segment, uint64_t number) noexcept nogil:
    cdef Seg* seg = segs_of(top) + segment
    cdef bint ours = False
    lock(top)
    if seg.number == number and may_leave(seg):
        begin_leaving(seg)
        ours = True
    unlock(top)
    return ours


cdef uint64_t oldest_beside(Top* top, int segment) noexcept nogil:
    """The lowest serial number in any other segment's log."""
    cdef Seg* seg = segs_of(top)
    cdef uint64_t oldest = <uint64_t> INT64_MAX
    cdef int i
    for i in range(<int> top.nsegments):
        if i != segment and seg[i].state != SEG_FREE:
            oldest = min(oldest, seg[i].oldest)
    return oldest
