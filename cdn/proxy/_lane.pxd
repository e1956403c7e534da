"""The hit lane for the front: one request in, one answer out, no Python object between."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cdn._core cimport RequestHead
from cdn.proxy._clock cimport Clock
from cdn.proxy._routes cimport CompiledRoute, RouteTable
from cdn.proxy._variants cimport Normaliser
from cdn.proxy._words cimport Words
from cdn.store._journal cimport Journal
from cdn.store._memory cimport Memory
from cdn.store.layout cimport Record

cdef enum:
    SCRATCH = 192 << 10     # a head (<= 64 KiB) and a small body
    COPY_LIMIT = 16 << 10   # bodies up to this are copied behind their head
    TARGET_ROOM = 16 << 10  # longer targets are not for the lane
    MARKER_AT = 4 * TARGET_ROOM     # in scratch: behind the authority and a path, which may become three times as long
    KEY_ROOM = 6 * TARGET_ROOM
    KEY_SPARE = 64          # behind it, for what a slice's key has more

cdef struct Answer:
    const char* out         # the head, and the body where it is small
    size_t out_len
    Record* record          # set when body bytes are still to be sent from the store; pinned
    uint64_t offset         # of those
    uint64_t length
    int status
    int route
    uint64_t body_length    # of this answer, for the log
    const char* key         # of the record; for the log
    size_t key_len

# How far the lane got with a request that it declined; the pointers are good until it is asked again.
cdef enum Step:
    AT_NOTHING = 0
    AT_ROUTE                # authority, path, raw query and route are known
    AT_KEY                  # the keyed query and the key too, and the request is plain enough for the route's key

cdef struct Located:
    int step
    int route
    const char* authority
    size_t authority_len
    const char* path
    size_t path_len
    const char* query       # as it belongs into the key from AT_KEY on
    int64_t query_len       # -1: none
    const char* key
    size_t key_len
    bint secure             # the scheme, as the key has it
    bint edge               # an edge has sent it, whose word is believed
    bint passed             # by a rule of the route

cdef struct LaneCounters:
    uint64_t hits
    uint64_t not_modified
    uint64_t ranges


cdef class HitLane:
    cdef readonly RouteTable routes
    cdef readonly Memory memory
    cdef readonly Journal journal
    cdef readonly Clock clock
    cdef readonly Normaliser normaliser
    cdef readonly Words words
    cdef public bint enabled
    cdef LaneCounters counters
    cdef Located located    # of the last request
    cdef bytes name         # of the node
    cdef bytes via_line
    cdef bytes old_via_line
    cdef bytes status_head  # "Cache-Status: NAME; hit; ttl="
    cdef const char* via
    cdef const char* old_via
    cdef char listing[20]   # of the slices that are looked at: u64 length | 8 bytes token | u32 size
    cdef size_t via_len
    cdef const char* member
    cdef size_t member_len
    cdef char* scratch
    cdef char* key
    cdef int answer(self, const char* buf, RequestHead* head, bint secure, NameSet names,
                    Answer* out) noexcept nogil
    cdef Record* _select(self, const char* buf, RequestHead* head, size_t n, CompiledRoute* c, const char* suffix,
                         size_t suffix_len, size_t* key_len, Record* copy) noexcept nogil
    cdef Record* _slice(self, size_t base_len, int64_t first, int64_t last, int64_t size, Record* copy) noexcept nogil
    cdef int64_t _list(self, Record* r, const Record* h, int64_t* size) noexcept nogil


cdef class NameSet:
    """The host names a TLS listener's certificate covers."""
    cdef readonly tuple names
    cdef uint32_t count
    cdef list keep
    cdef const char** text
    cdef uint32_t* length
    cdef bint covers(self, const char* host, size_t n) noexcept nogil


cdef char* compose(char* dst, const char* head, size_t head_len, size_t status_line_len, uint64_t lines_304,
                   int status_as, int64_t content_length, int64_t first, int64_t total,
                   int64_t age) noexcept nogil
