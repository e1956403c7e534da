# Where things lie: from the number of a page, a granule, a block or a quarter to its bytes, and back. Must not know what lies
# there, or whether it is free.


cdef inline uint64_t page_of(Space* s, const void* p) noexcept nogil:
    return <uint64_t> (<const char*> p - s.pages) >> PAGE_SHIFT


cdef inline char* page_bytes(Space* s, uint64_t page) noexcept nogil:
    return s.pages + (page << PAGE_SHIFT)


cdef inline uint64_t granule_of(Space* s, const Record* r) noexcept nogil:
    return <uint64_t> (<const char*> r - s.base) >> GRANULE_SHIFT


cdef inline Record* record_at(Space* s, uint64_t granule) noexcept nogil:
    return <Record*> (s.base + (granule << GRANULE_SHIFT))


cdef inline char* block_bytes(Space* s, uint64_t block) noexcept nogil:
    return s.pages + block * BLOCK_BYTES


cdef inline char* quarter_bytes(Space* s, uint64_t quarter) noexcept nogil:
    return s.pages + quarter * QUARTER_BYTES
