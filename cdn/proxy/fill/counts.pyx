# Part of cdn/proxy/_fill.pyx: what the lane counts, until it is asked.


cdef struct Counts:
    uint64_t done
    uint64_t body_bytes
    uint64_t micros
    uint64_t statuses[6]        # 0: none went out
    uint64_t buckets[NBUCKETS + 1]

cdef int64_t BOUNDS[NBUCKETS]   # µs


cdef int _bounds() except -1:
    cdef int i
    if len(BUCKETS) != NBUCKETS:
        raise ValueError("the lane counts in other buckets than the rest")
    for i in range(NBUCKETS):
        BOUNDS[i] = BUCKETS[i] * 1000
    return 0

_bounds()


cdef void count(Counts* c, int status, uint64_t sent, int64_t micros) noexcept nogil:
    cdef int i
    c.done += 1
    c.body_bytes += sent
    c.micros += micros
    c.statuses[status // 100 if 100 <= status <= 599 else 0] += 1
    for i in range(NBUCKETS):
        if micros <= BOUNDS[i]:
            c.buckets[i] += 1
            return
    c.buckets[NBUCKETS] += 1
