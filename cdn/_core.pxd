"""Leaves shared by every hot module: no policy, no Python object unless the signature says so, no allocation.

Offsets are relative to the start of the buffer that was scanned. Functions return a length or count >= 0, or a negative
code from the enum named beside them.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MAX_FIELDS = 256

cdef enum FieldId:
    F_OTHER = 0
    F_HOST
    F_CONNECTION
    F_CONTENT_LENGTH
    F_TRANSFER_ENCODING
    F_EXPECT
    F_UPGRADE
    F_RANGE
    F_IF_RANGE
    F_IF_MATCH
    F_IF_NONE_MATCH
    F_IF_MODIFIED_SINCE
    F_IF_UNMODIFIED_SINCE
    F_CACHE_CONTROL
    F_PRAGMA
    F_AUTHORIZATION
    F_COOKIE
    F_ACCEPT
    F_ACCEPT_ENCODING
    F_ACCEPT_LANGUAGE
    F_TE
    F_TRAILER
    F_KEEP_ALIVE
    F_PROXY_CONNECTION
    F_HTTP2_SETTINGS
    F_USER_AGENT
    F_REFERER
    F_VIA
    F_CDN_LOOP
    F_X_FORWARDED_FOR
    F_DATE
    F_ETAG
    F_LAST_MODIFIED
    F_VARY
    F_SET_COOKIE
    F_AGE
    F_EXPIRES

cdef enum MethodId:
    M_OTHER = 0
    M_GET
    M_HEAD
    M_POST
    M_PUT
    M_DELETE
    M_OPTIONS
    M_PATCH
    M_CONNECT
    M_TRACE
    M_PURGE

cdef struct FieldSpan:
    uint32_t name
    uint32_t name_len
    uint32_t value          # optional white space around it already cut
    uint32_t value_len
    uint32_t id             # FieldId

cdef struct RequestHead:
    uint32_t length         # bytes of the head, its final empty line included
    uint32_t method
    uint32_t method_len
    uint32_t target
    uint32_t target_len
    int method_id
    int minor               # HTTP/1.minor: 0 or 1
    uint64_t present        # bit (1 << FieldId) for every known field that occurs
    int64_t content_length  # -1: no field
    bint chunked            # Transfer-Encoding is exactly "chunked"
    bint close              # Connection lists "close"
    bint keep_alive
    bint upgrade            # Connection lists "upgrade"
    uint32_t nfields
    FieldSpan fields[MAX_FIELDS]

cdef struct ResponseHead:
    uint32_t length
    int status
    uint32_t reason
    uint32_t reason_len
    int minor
    uint64_t present
    int64_t content_length
    bint chunked
    bint close
    bint keep_alive
    bint upgrade
    uint32_t nfields
    FieldSpan fields[MAX_FIELDS]

# 0: more bytes are needed; 1: complete; negative: refused (-ScanError).
# `resume` carries the scan position between calls on a growing buffer (start with 0), so that a head arriving byte by
# byte costs linear time; a fault is reported as soon as its bytes are there.
cdef int scan_request(const char* buf, size_t n, size_t* resume, uint32_t max_head, uint32_t max_fields,
                      RequestHead* out) noexcept nogil
cdef int scan_response(const char* buf, size_t n, size_t* resume, uint32_t max_head, uint32_t max_fields,
                       ResponseHead* out) noexcept nogil

# Chunked framing (RFC 9112 §7.1), strict: CRLF only, hex sizes without sign, extensions skipped within a bound, trailer
# lines validated within a bound and dropped.
cdef enum ChunkStep:
    CHUNK_MORE = 0          # everything consumed, more needed
    CHUNK_DATA = 1          # [data, data + data_len) of buf is body
    CHUNK_END = 2           # the message ends at pos
    CHUNK_BAD = -1

cdef struct Chunked:        # zeroed to start
    uint64_t left
    uint32_t line
    uint8_t state

cdef int chunked_next(Chunked* st, const char* buf, size_t n, size_t* pos,
                      size_t* data, size_t* data_len) noexcept nogil

# Normal forms. dst must have room for n + 1 bytes. Negative: refused.
cdef int normal_path(const char* src, size_t n, char* dst) noexcept nogil
cdef int normal_authority(const char* src, size_t n, bint https, char* dst) noexcept nogil

cdef class NamePatterns:
    """Names, or prefixes written `name*`; case matters (fold before, where it must not)."""
    cdef readonly tuple texts
    cdef uint32_t count
    cdef char* blob
    cdef uint32_t* starts
    cdef bint matches(self, const char* name, size_t n) noexcept nogil

cdef class QueryFilter:
    """Compiled config.QueryKey: which parameters of a query stay, and whether they are sorted."""
    cdef readonly bint active           # False: a query passes through unchanged
    cdef NamePatterns ignore
    cdef NamePatterns only
    cdef bint has_only
    cdef bint sort
    cdef int apply(self, const char* src, size_t n, char* dst) noexcept nogil   # length; -1: nothing is left, no query

# key = 'h' | 's' (http, https), then authority, path, query each as uint32 length + bytes (query: length 0xffffffff and
# no bytes when absent), then chosen extras in the same form. Returns the length; dst must have room for
# 13 + the three lengths.
cdef size_t write_key(bint https, const char* authority, size_t na, const char* path, size_t np,
                      const char* query, int64_t nq, char* dst) noexcept nogil
cdef void siphash128(const uint8_t* secret, const char* data, size_t n, uint64_t* out) noexcept nogil

# If-None-Match / If-Match: the list against one entity-tag, weak or strong comparison (RFC 9110 §8.8.3.2, §13.1).
cdef bint etag_list_matches(const char* list, size_t n, const char* etag, size_t ne, bint weak) noexcept nogil

cdef enum RangeKind:
    RANGE_IGNORE = 0        # not bytes, or malformed: answer 200
    RANGE_ONE = 1
    RANGE_MANY = 2
    RANGE_UNSATISFIABLE = 3

cdef int parse_range(const char* value, size_t n, int64_t length, int64_t* first, int64_t* last) noexcept nogil

# RFC 9110 §5.6.7, all three forms; seconds since the epoch, or INT64_MIN. `now` (seconds) resolves two-digit years.
cdef int64_t parse_http_date(const char* value, size_t n, int64_t now) noexcept nogil

cdef char* put_uint(char* dst, uint64_t value) noexcept nogil               # decimal; returns the end
cdef char* put_bytes(char* dst, const char* src, size_t n) noexcept nogil
