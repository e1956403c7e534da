"""What a lane has to know of a server, and of an origin with one server, without asking Python; see `_standing.pyx`."""

from libc.stdint cimport int64_t, uint64_t

from cdn.tier._wire cimport Connection, Pool

cdef enum:
    MOST_BUCKETS = 16


cdef class Tally:
    cdef readonly uint64_t worked
    cdef readonly double average_ms
    cdef readonly double seconds
    cdef uint64_t counts[MOST_BUCKETS]
    cdef uint64_t bounds[MOST_BUCKETS]
    cdef int nbounds
    cdef double newest
    cdef void add(self, double first_byte_ms) noexcept


cdef class Standing:
    cdef public bint draining
    cdef public bint plain
    cdef public bint steady


cdef class Member:
    cdef public Pool pool
    cdef public Tally figures
    cdef public Standing health
    cdef public object limit
    cdef public uint64_t seed           # its name's hash
    cdef public int weight
    cdef public double credit           # round robin's own
    cdef public int64_t connecting      # connections that are being made
    cdef public int64_t reserved        # places given to requests that waited for one and have not begun
    cdef readonly frozenset suspect     # statuses that speak against it
    cdef int64_t under_way(self) noexcept
    cdef double load(self) noexcept
    cdef int answered(self, double first_byte_ms, int status) except -1


cdef class Choice:
    cdef public Member only
    cdef public Member promised
    cdef public tuple homes             # among which a key's hash decides
    cdef public tuple rivals            # among which those that are under way do
    cpdef Member home(self, uint64_t key)
    cpdef Member freest(self)
    cdef Connection take_plain(self)
