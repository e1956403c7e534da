# After a worker's death: what it held is given back, what it left half-made is made anew.


cdef bint mended(Space* s) noexcept nogil:
    """Rebuild what the owner of the lock left when it died; the lock is held. False: it cannot be done."""
    restore_queues(s)
    s.top.broken = 0
    return True
