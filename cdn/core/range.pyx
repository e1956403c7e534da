# Range requests on a known length (RFC 9110 §14.1, §14.2): a set of byte ranges parsed one spec at a time.

cdef enum RangeSpec:
    SPEC_END = 0                # the set is complete
    SPEC_HELD = 1               # satisfiable: [first, last]
    SPEC_BEYOND = 2             # well formed, nothing of it is there
    SPEC_EMPTY = 3              # the suffix of an empty representation: satisfiable, but no 206 can say so
    SPEC_BAD = -1


cdef inline const uint8_t* saturating(const uint8_t* p, const uint8_t* end, int64_t* value) noexcept nogil:
    """Digits at p as a number, INT64_MAX where it is larger; behind them (p itself where there are none)."""
    cdef int64_t v = 0
    cdef int digit
    while p < end and CLASS[p[0]] & C_DIGIT:
        digit = p[0] - 0x30
        v = INT64_MAX if v > (INT64_MAX - digit) // 10 else v * 10 + digit
        p += 1
    value[0] = v
    return p


cdef const uint8_t* range_set(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Behind "bytes=", or NULL for another unit."""
    if end - p < 6 or not same_folded(<const char*>p, 6, b"bytes=", 6):
        return NULL
    return p + 6


cdef bint digits_below(const uint8_t* a, const uint8_t* a_end,
                       const uint8_t* b, const uint8_t* b_end) noexcept nogil:
    """a < b for digits of any length."""
    while a < a_end and a[0] == 0x30:
        a += 1
    while b < b_end and b[0] == 0x30:
        b += 1
    if a_end - a != b_end - b:
        return a_end - a < b_end - b
    return memcmp(a, b, a_end - a) < 0


cdef int next_range(const uint8_t** at, const uint8_t* end, int64_t length,
                    int64_t* first, int64_t* last) noexcept nogil:
    """The next range-spec of a set; `at` moves behind it and its comma."""
    cdef const uint8_t* p = at[0]
    cdef const uint8_t* digits
    cdef const uint8_t* dash
    cdef bint suffix
    while p < end and (is_ows(p[0]) or p[0] == 0x2C):
        p += 1
    if p == end:
        return SPEC_END
    digits = p
    dash = saturating(p, end, first)
    suffix = dash == digits
    if dash == end or dash[0] != 0x2D:
        return SPEC_BAD
    p = saturating(dash + 1, end, last)
    if p == dash + 1:
        if suffix:
            return SPEC_BAD
        last[0] = INT64_MAX
    elif not suffix and digits_below(dash + 1, p, digits, dash):
        return SPEC_BAD
    while p < end and is_ows(p[0]):
        p += 1
    if p < end and p[0] != 0x2C:
        return SPEC_BAD
    at[0] = p
    if suffix:
        if last[0] == 0:
            return SPEC_BEYOND
        if length == 0:
            return SPEC_EMPTY
        first[0] = length - last[0] if last[0] < length else 0
        last[0] = length - 1
        return SPEC_HELD
    if first[0] >= length:
        return SPEC_BEYOND
    if last[0] >= length:
        last[0] = length - 1
    return SPEC_HELD


cdef int parse_range(const char* value, size_t n, int64_t length,
                     int64_t* first, int64_t* last) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>value
    cdef const uint8_t* end = p + n
    cdef int64_t from_, to
    cdef int spec, held = SPEC_END
    cdef uint32_t count = 0
    trim(&p, &end)
    p = range_set(p, end)
    if p == NULL:
        return RANGE_IGNORE
    while True:
        spec = next_range(&p, end, length, &from_, &to)
        if spec == SPEC_BAD:
            return RANGE_IGNORE
        if spec == SPEC_END:
            break
        if count == 0:
            held = spec
            first[0] = from_
            last[0] = to
        count += 1
    if count > 1:
        return RANGE_MANY
    if held == SPEC_HELD:
        return RANGE_ONE
    return RANGE_UNSATISFIABLE if held == SPEC_BEYOND else RANGE_IGNORE


def _parse_range(bytes value not None, int64_t length):
    """("ignore" | "one" | "many" | "unsatisfiable", first, last) of a Range value on `length` >= 0 bytes; the
    positions count for "one" only, else they are 0."""
    cdef int64_t first = 0, last = 0
    cdef int kind
    if length < 0:
        raise ValueError("the length is not known")
    kind = parse_range(value, len(value), length, &first, &last)
    if kind == RANGE_ONE:
        return "one", first, last
    return ("ignore", "one", "many", "unsatisfiable")[kind], 0, 0


def parse_ranges(bytes value not None, int64_t length):
    """Every satisfiable (first, last) of a Range value in its own order; [] when none is; None when the field
    is to be ignored (malformed, another unit, or nothing that a 206 can express)."""
    cdef const char* text = value
    cdef const uint8_t* p = <const uint8_t*>text
    cdef const uint8_t* end = p + len(value)
    cdef int64_t first = 0, last = 0
    cdef int spec
    cdef bint some = False, empty = False
    if length < 0:
        raise ValueError("the length is not known")
    trim(&p, &end)
    p = range_set(p, end)
    if p == NULL:
        return None
    held = []
    while True:
        spec = next_range(&p, end, length, &first, &last)
        if spec == SPEC_BAD:
            return None
        if spec == SPEC_END:
            return None if not some or (empty and not held) else held
        some = True
        if spec == SPEC_HELD:
            held.append((first, last))
        elif spec == SPEC_EMPTY:
            empty = True
