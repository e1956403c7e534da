"""Leaves shared by every hot module: no policy, no Python object unless the signature says so, no allocation.

Offsets are relative to the start of the buffer that was scanned. Functions return a length or count >= 0, or a negative
code from the enum named beside them.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

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
    F_CDN_EDGE              # an edge speaks to its shield

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

# Why a head is refused. scan_error_status gives the HTTP status for a client; a bad response head is always
# a 502.
cdef enum ScanError:
    E_METHOD = 1            # not a token, or not followed by one SP
    E_TARGET                # empty, or anything but visible ASCII
    E_VERSION               # not HTTP/DIGIT.DIGIT
    E_VERSION_UNSUPPORTED   # 505
    E_LINE_END              # bare CR or LF, or bytes between version and CRLF
    E_TARGET_TOO_LONG       # 414: the head's budget ends inside the request line
    E_HEAD_TOO_LARGE        # 431
    E_TOO_MANY_FIELDS       # 431
    E_FIELD_NAME            # empty, not a token, or white space before the colon
    E_FIELD_VALUE           # NUL or another control
    E_FOLD                  # a line that starts with white space
    E_HOST_MISSING
    E_HOST_REPEATED
    E_CONTENT_LENGTH
    E_CONTENT_LENGTH_REPEATED
    E_TRANSFER_ENCODING     # ambiguous: several lines, lists around chunked, HTTP/1.0
    E_TRANSFER_CODING       # 501: one coding, not chunked
    E_TWO_LENGTHS           # Content-Length beside Transfer-Encoding
    E_STATUS_LINE
    E_AUTHORITY             # Host or the target's authority is no host[:port]
    E_HOST_MISMATCH         # absolute-form names another authority than Host
    E_TARGET_FORM           # a form of target that this method does not take, another scheme, a fragment
    E_PATH                  # normal_path refuses it
    E_COUNT

cdef int scan_error_status(int error) noexcept nogil
cdef const char* scan_error_name(int error) noexcept nogil

# 0: more bytes are needed; 1: complete; negative: refused (-ScanError).
# `resume` carries the scan position between calls on a growing buffer (start with 0), so that a head arriving
# byte by byte costs linear time; a fault is reported as soon as its bytes are there. A head has at most
# 2 MiB - 1 bytes, whatever max_head says.
cdef int scan_request(const char* buf, size_t n, size_t* resume, uint32_t max_head, uint32_t max_fields,
                      RequestHead* out) noexcept nogil
cdef int scan_response(const char* buf, size_t n, size_t* resume, uint32_t max_head, uint32_t max_fields,
                       ResponseHead* out) noexcept nogil

# Chunked framing (RFC 9112 §7.1), strict: CRLF only, hex sizes without sign, extensions skipped within a
# bound, trailer lines validated within a bound and dropped.
cdef enum ChunkStep:
    CHUNK_MORE = 0          # everything consumed, more needed
    CHUNK_DATA = 1          # [data, data + data_len) of buf is body
    CHUNK_END = 2           # the message ends at pos
    CHUNK_BAD = -1

cdef struct Chunked:        # zeroed to start
    uint64_t left           # body bytes left of this chunk
    uint32_t line           # bytes so far of this size line, or of the whole trailer section
    uint32_t excess         # framing bytes beyond what fair chunks need, over the whole message
    uint8_t state

cdef int chunked_next(Chunked* st, const char* buf, size_t n, size_t* pos,
                      size_t* data, size_t* data_len) noexcept nogil

# Normal forms; the length, or negative: refused. normal_path needs room for 3 * n + 1 bytes (it may
# percent-encode), normal_authority for n, of which it never writes more than 271.
cdef int normal_path(const char* src, size_t n, char* dst) noexcept nogil
cdef int normal_authority(const char* src, size_t n, bint https, char* dst) noexcept nogil

# The request target in its parts, normalised. Negative: refused (-ScanError).
cdef enum TargetForm:
    TARGET_PLAIN = 0        # origin-form and a Host
    TARGET_ABSOLUTE = 1
    TARGET_ASTERISK = 2     # OPTIONS *: path is "*"
    TARGET_AUTHORITY = 3    # CONNECT: path is empty
    TARGET_NO_HOST = 4      # HTTP/1.0 without Host: authority is empty

cdef struct TargetParts:
    uint32_t authority_len
    uint32_t path_len
    uint32_t query          # offset in buf
    int32_t query_len       # -1: no query

# `authority` needs room for the longer of Host and target, `path` for 3 * target_len + 1.
cdef int split_request_target(const RequestHead* head, const char* buf, bint https,
                              char* authority, char* path, TargetParts* out) noexcept nogil

cdef class NamePatterns:
    """Names, or prefixes written `name*`; case matters (fold before, where it must not)."""
    cdef readonly tuple texts
    cdef uint32_t count
    cdef char* blob
    cdef uint32_t* starts
    cdef bint matches(self, const char* name, size_t n) noexcept nogil
    # The name of a parameter, its %XX decoded first; and whether some parameter of a query has such a name.
    cdef bint matches_parameter(self, const char* name, size_t n) noexcept nogil
    cdef bint any_parameter(self, const char* query, size_t n) noexcept nogil
    # The name of a field, whatever its case; and whether some pair of a Cookie field's value has such a name.
    cdef bint matches_folded(self, const char* name, size_t n) noexcept nogil
    cdef bint any_cookie(self, const char* value, size_t n) noexcept nogil

cdef class QueryFilter:
    """Compiled config.QueryKey: which parameters of a query stay, and whether they are sorted."""
    cdef readonly bint active           # False: a query passes through unchanged
    cdef NamePatterns ignore
    cdef NamePatterns only
    cdef bint has_only
    cdef bint sort
    # The length, at most n; -1: nothing is left, no query.
    cdef int apply(self, const char* src, size_t n, char* dst) noexcept nogil

# key = 'h' | 's' (http, https), then authority, path, query each as uint32 length + bytes (query: length
# 0xffffffff and no bytes when absent), then chosen extras in the same form. Returns the length; dst must have
# room for 13 + the three lengths.
cdef size_t write_key(bint https, const char* authority, size_t na, const char* path, size_t np,
                      const char* query, int64_t nq, char* dst) noexcept nogil
cdef void siphash128(const uint8_t* secret, const char* data, size_t n, uint64_t* out) noexcept nogil

# core/rendezvous.pyx: how strongly a place whose name hashes to `seed` claims a key; the highest claim has it.
cdef double rendezvous_score(uint64_t key, uint64_t seed, double weight) noexcept nogil

# If-None-Match / If-Match: the list against one entity-tag, weak or strong comparison (RFC 9110 §8.8.3.2,
# §13.1). `*` matches whatever etag is. A stored tag without quotes: see core/conditional.pyx.
cdef bint etag_list_matches(const char* list, size_t n, const char* etag, size_t ne,
                            bint weak) noexcept nogil

cdef enum RangeKind:
    RANGE_IGNORE = 0        # not bytes, or malformed: answer 200
    RANGE_ONE = 1
    RANGE_MANY = 2
    RANGE_UNSATISFIABLE = 3

cdef int parse_range(const char* value, size_t n, int64_t length,
                     int64_t* first, int64_t* last) noexcept nogil

# RFC 9110 §5.6.7, all three forms; seconds since the epoch, or INT64_MIN. `now` (seconds) resolves two-digit
# years.
cdef int64_t parse_http_date(const char* value, size_t n, int64_t now) noexcept nogil

cdef char* put_uint(char* dst, uint64_t value) noexcept nogil               # decimal; returns the end
cdef char* put_bytes(char* dst, const char* src, size_t n) noexcept nogil
cdef char* put_status_line(char* dst, int status) noexcept nogil            # with CRLF; room for 64
cdef char* put_field(char* dst, const char* name, size_t nn, const char* value, size_t nv) noexcept nogil
cdef char* put_http_date(char* dst, int64_t seconds) noexcept nogil         # 29 bytes; years 1 to 9999
cdef const char* reason_phrase_c(int status) noexcept nogil                 # "" when unknown

# Equal but for ASCII case.
cdef bint same_folded(const char* a, size_t na, const char* b, size_t nb) noexcept nogil
# A comma list (Connection, Vary, ...) holds this token, case ignored.
cdef bint list_has_token(const char* value, size_t n, const char* token, size_t nt) noexcept nogil
# Index in `fields` of the first line with this id at or behind `start`, or -1.
cdef int find_field(const FieldSpan* fields, uint32_t nfields, uint32_t field_id,
                    uint32_t start) noexcept nogil
cdef int field_id(const char* name, size_t n) noexcept nogil                # FieldId of a name in any case

# HMAC-SHA-256 (RFC 2104): a key made ready once, then 32 bytes for each message.
cdef struct MacKey:
    uint32_t inner[8]
    uint32_t outer[8]

cdef void mac_key(MacKey* key, const char* secret, size_t n) noexcept nogil
cdef void mac(const MacKey* key, const char* message, size_t n, uint8_t* out) noexcept nogil

# Eviction: choices among candidates; -1 when there is none.
cdef enum:
    USES_BITS = 4
    USES_MASK = 15
    CLOCK_MASK = 0x0fffffff
    CLOCK_UNITS = 16384     # of sized_victim's clock while as many bytes go as there is room for
    JUST_USED = 819         # no time is shorter for it: a twentieth of that

cdef struct Candidate:
    uint32_t access         # lru: stamp of the last use, wrapping; sized: clock << USES_BITS | uses
    uint32_t serial         # lru: when it was stored, wrapping
    uint64_t weight         # bytes
    int64_t expires         # ms of node time; behind it the entry counts as less
    int64_t useful_until    # behind it as nothing

cdef int lru_victim(const Candidate* c, int n, uint32_t clock, uint32_t serial, int64_t now) noexcept nogil
cdef int sized_victim(const Candidate* c, int n, uint32_t clock, int64_t now) noexcept nogil
