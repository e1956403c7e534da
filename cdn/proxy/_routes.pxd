"""The route matcher for C callers."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from cdn._core cimport NamePatterns, QueryFilter, RequestHead

cdef enum:
    NO_HOST = -1     # no route knows this host: 421
    NO_ROUTE = -2    # the host is known, nothing matches: 404

cdef enum PathKind:
    PATH_ANY = 0
    PATH_EXACT
    PATH_PREFIX
    PATH_GLOB

cdef struct CompiledPath:
    int kind
    uint32_t length
    const char* text

cdef struct CompiledRoute:
    CompiledPath path
    uint32_t methods        # bit (1 << MethodId); 0: every method
    bint other_methods      # some of its methods have no MethodId: ask Python
    bint cached             # cache is on
    bint lane               # the hit lane may answer (the key is plain)
    bint rules              # some requests are passed by rule:
    void* passed_fields     # those with such a field, cookie or parameter: NamePatterns, borrowed from the table
    void* passed_cookies
    void* passed_query
    bint sliced             # ranges may be answered from slices
    uint8_t directives      # 0: request directives are ignored; 1: honoured
    bint filtered           # the query is filtered for the key
    void* filter            # QueryFilter, borrowed from RouteTable.filters
    const char* coding      # "accept-encoding", NUL, the route's codings; NULL where it has none
    uint32_t coding_len


cdef class RouteTable:
    cdef readonly tuple routes          # config.Route
    cdef readonly list filters          # QueryFilter per route
    cdef list keep                      # what C pointers lead to
    cdef dict exact                     # host -> candidates (bytes of int32)
    cdef CompiledRoute* compiled
    cdef uint32_t count
    # exact hosts, open addressing
    cdef uint32_t slots
    cdef const char** slot_host
    cdef uint32_t* slot_length
    cdef const int32_t** slot_routes
    cdef uint32_t* slot_count
    # candidates for every other host
    cdef list suffixes                  # (suffix bytes, route index)
    cdef uint32_t nsuffix
    cdef const char** suffix
    cdef uint32_t* suffix_length
    cdef int32_t* suffix_route          # ascending; suffix NULL: any host
    cdef int match(self, const char* host, size_t nh, const char* path, size_t np,
                   int method, const char* name, size_t nm) noexcept nogil
    cdef bint by_rule(self, int route, const char* buf, const RequestHead* head, const char* query,
                      int64_t nq) noexcept nogil
    cdef bint _named(self, int route, const char* name, size_t nm) noexcept with gil
    cdef bint _accepts(self, int route, const char* path, size_t np, int method,
                       const char* name, size_t nm) noexcept nogil
