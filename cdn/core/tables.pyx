# Byte classes, filled once at import, and the word-at-a-time tests that skip runs of ordinary bytes.

cdef enum:
    C_TOKEN = 1             # RFC 9110 §5.6.2 tchar
    C_VISIBLE = 2           # 0x21..0x7e
    C_DIGIT = 4
    C_HEX = 8
    C_UNRESERVED = 16       # RFC 3986 §2.3
    C_ETAG = 32             # RFC 9110 §8.8.3 etagc
    C_PATH = 64             # may stand raw in a path: pchar without "%", and no "/"
    C_LABEL = 128           # letters, digits, "-", "_"

cdef uint8_t CLASS[256]
cdef uint8_t HEX_VALUE[256]
cdef uint8_t LOWER[256]
cdef const char* HEX_UPPER = b"0123456789ABCDEF"

cdef uint64_t ONES = 0x0101010101010101
cdef uint64_t HIGHS = 0x8080808080808080
cdef uint64_t FOLD = 0x2020202020202020


cdef void fill_tables() noexcept:
    cdef int c
    letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    digits = b"0123456789"
    for c in range(256):
        CLASS[c] = 0
        LOWER[c] = c | 0x20 if 0x41 <= c <= 0x5A else c
        HEX_VALUE[c] = 0
        if 0x21 <= c <= 0x7E:
            CLASS[c] |= C_VISIBLE
        if (0x21 <= c <= 0x7E and c != 0x22) or c >= 0x80:
            CLASS[c] |= C_ETAG
    for c in letters + digits:
        CLASS[c] |= C_TOKEN | C_UNRESERVED | C_PATH | C_LABEL
    for c in b"!#$%&'*+-.^_`|~":
        CLASS[c] |= C_TOKEN
    for c in b"-._~":
        CLASS[c] |= C_UNRESERVED | C_PATH
    for c in b"!$&'()*+,;=:@":
        CLASS[c] |= C_PATH
    for c in b"-_":
        CLASS[c] |= C_LABEL
    for c in digits:
        CLASS[c] |= C_DIGIT | C_HEX
        HEX_VALUE[c] = c - 0x30
    for c in b"abcdef":
        CLASS[c] |= C_HEX
        CLASS[c - 0x20] |= C_HEX
        HEX_VALUE[c] = HEX_VALUE[c - 0x20] = c - 0x61 + 10


fill_tables()


cdef extern from *:
    """
    static inline unsigned cdn_first_byte(unsigned long long m) { return (unsigned)__builtin_ctzll(m) >> 3; }
    """
    unsigned first_byte "cdn_first_byte"(uint64_t mask) noexcept nogil


cdef inline uint64_t load8(const uint8_t* p) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, p, 8)
    return word


# The first marked byte of these masks is exact on a little-endian machine; marks behind it may be false.

cdef inline uint64_t marks_control(uint64_t w) noexcept nogil:
    """Bytes below 0x20, and 0x7f."""
    cdef uint64_t d = w ^ (ONES * 0x7F)
    return (((w - ONES * 0x20) & ~w) | ((d - ONES) & ~d)) & HIGHS


cdef inline uint64_t marks_not_visible(uint64_t w) noexcept nogil:
    """Bytes outside 0x21..0x7e."""
    cdef uint64_t d = w ^ (ONES * 0x7F)
    return (((w - ONES * 0x21) & ~w) | ((d - ONES) & ~d) | w) & HIGHS


cdef inline bint is_ows(uint8_t c) noexcept nogil:
    return c == 0x20 or c == 0x09


cdef inline void trim(const uint8_t** start, const uint8_t** end) noexcept nogil:
    """Cut optional white space from both ends of [start, end)."""
    while start[0] < end[0] and is_ows(start[0][0]):
        start[0] += 1
    while end[0] > start[0] and is_ows((end[0] - 1)[0]):
        end[0] -= 1
