# Field names and methods that the program knows, found by length and a few folded words.

cdef enum:
    NAME_LONGEST = 24
    IDS = 64

cdef struct KnownName:
    uint64_t first          # bytes [0, 8), [8, 16) and the last 8, folded; shorter names padded with NUL
    uint64_t middle
    uint64_t last
    uint32_t id

cdef KnownName KNOWN[IDS]
cdef uint8_t KNOWN_FROM[NAME_LONGEST + 2]   # KNOWN is ordered by length: [KNOWN_FROM[n], KNOWN_FROM[n + 1])

FIELD_IDS = {
    b"host": F_HOST,
    b"connection": F_CONNECTION,
    b"content-length": F_CONTENT_LENGTH,
    b"transfer-encoding": F_TRANSFER_ENCODING,
    b"expect": F_EXPECT,
    b"upgrade": F_UPGRADE,
    b"range": F_RANGE,
    b"if-range": F_IF_RANGE,
    b"if-match": F_IF_MATCH,
    b"if-none-match": F_IF_NONE_MATCH,
    b"if-modified-since": F_IF_MODIFIED_SINCE,
    b"if-unmodified-since": F_IF_UNMODIFIED_SINCE,
    b"cache-control": F_CACHE_CONTROL,
    b"pragma": F_PRAGMA,
    b"authorization": F_AUTHORIZATION,
    b"cookie": F_COOKIE,
    b"accept": F_ACCEPT,
    b"accept-encoding": F_ACCEPT_ENCODING,
    b"accept-language": F_ACCEPT_LANGUAGE,
    b"te": F_TE,
    b"trailer": F_TRAILER,
    b"keep-alive": F_KEEP_ALIVE,
    b"proxy-connection": F_PROXY_CONNECTION,
    b"http2-settings": F_HTTP2_SETTINGS,
    b"user-agent": F_USER_AGENT,
    b"referer": F_REFERER,
    b"via": F_VIA,
    b"cdn-loop": F_CDN_LOOP,
    b"x-forwarded-for": F_X_FORWARDED_FOR,
    b"date": F_DATE,
    b"etag": F_ETAG,
    b"last-modified": F_LAST_MODIFIED,
    b"vary": F_VARY,
    b"set-cookie": F_SET_COOKIE,
    b"age": F_AGE,
    b"expires": F_EXPIRES,
    b"cdn-edge": F_CDN_EDGE,
}


cdef inline void name_words(const uint8_t* p, size_t n, KnownName* out) noexcept nogil:
    """The folded words of a name of 1 to NAME_LONGEST bytes. OR 0x20 folds exactly here: no other token byte
    becomes a letter, digit or "-" by it."""
    cdef uint64_t word = 0
    cdef uint32_t low, high
    cdef size_t i
    out.middle = 0
    if n >= 8:
        out.first = load8(p) | FOLD
        out.last = load8(p + n - 8) | FOLD
        if n > 16:
            out.middle = load8(p + 8) | FOLD
    elif n >= 4:
        memcpy(&low, p, 4)
        memcpy(&high, p + n - 4, 4)
        out.first = (low | (<uint64_t>high << 32)) | FOLD
        out.last = 0
    else:
        for i in range(n):
            word = (word << 8) | (p[i] | 0x20)
        out.first = word
        out.last = 0


cdef int fill_names() except -1:
    cdef int slot = 0
    cdef int length
    cdef const char* text
    for length in range(NAME_LONGEST + 2):
        KNOWN_FROM[length] = slot
        for name, number in FIELD_IDS.items():
            if len(name) == length:
                text = name
                name_words(<const uint8_t*>text, length, &KNOWN[slot])
                KNOWN[slot].id = number
                slot += 1
    return 0


fill_names()


cdef inline uint32_t known_id(const uint8_t* p, size_t n) noexcept nogil:
    cdef KnownName words
    cdef uint32_t i, end
    if n == 0 or n > NAME_LONGEST:
        return F_OTHER
    i = KNOWN_FROM[n]
    end = KNOWN_FROM[n + 1]
    if i == end:
        return F_OTHER
    name_words(p, n, &words)
    while i < end:
        if KNOWN[i].first == words.first and KNOWN[i].last == words.last and KNOWN[i].middle == words.middle:
            return KNOWN[i].id
        i += 1
    return F_OTHER


cdef int field_id(const char* name, size_t n) noexcept nogil:
    return known_id(<const uint8_t*>name, n)


cdef inline int method_id(const uint8_t* p, size_t n) noexcept nogil:
    """RFC 9110 §9.1: methods are case-sensitive."""
    if n == 3:
        if memcmp(p, b"GET", 3) == 0:
            return M_GET
        if memcmp(p, b"PUT", 3) == 0:
            return M_PUT
    elif n == 4:
        if memcmp(p, b"HEAD", 4) == 0:
            return M_HEAD
        if memcmp(p, b"POST", 4) == 0:
            return M_POST
    elif n == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return M_PATCH
        if memcmp(p, b"TRACE", 5) == 0:
            return M_TRACE
        if memcmp(p, b"PURGE", 5) == 0:
            return M_PURGE
    elif n == 6:
        if memcmp(p, b"DELETE", 6) == 0:
            return M_DELETE
    elif n == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return M_OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0:
            return M_CONNECT
    return M_OTHER


cdef bint same_folded(const char* a, size_t na, const char* b, size_t nb) noexcept nogil:
    cdef size_t i
    if na != nb:
        return False
    for i in range(na):
        if LOWER[<uint8_t>a[i]] != LOWER[<uint8_t>b[i]]:
            return False
    return True


cdef bint list_has_token(const char* value, size_t n, const char* token, size_t nt) noexcept nogil:
    """RFC 9110 §5.6.1: members split at commas, white space around them ignored, empty ones too."""
    cdef const uint8_t* p = <const uint8_t*>value
    cdef const uint8_t* end = p + n
    cdef const uint8_t* start
    cdef const uint8_t* stop
    while p < end:
        start = p
        while p < end and p[0] != 0x2C:
            p += 1
        stop = p
        p += 1
        trim(&start, &stop)
        if same_folded(<const char*>start, stop - start, token, nt):
            return True
    return False


def _field_id(bytes name not None):
    """The bit number of a field name given in any case, 0 for one that the program does not know."""
    return field_id(name, len(name))


def _list_has_token(bytes value not None, bytes token not None):
    """A comma list holds this token, case ignored."""
    return bool(list_has_token(value, len(value), token, len(token)))


cdef int find_field(const FieldSpan* fields, uint32_t nfields, uint32_t field_id,
                    uint32_t start) noexcept nogil:
    cdef uint32_t i
    for i in range(start, nfields):
        if fields[i].id == field_id:
            return i
    return -1
