# Names that a configuration lists, and which parameters of a query belong to the key. One parser: raw text split at "&" only, the name is what
# stands before "=", compared with its %XX decoded; ";" and "+" are ordinary bytes. Kept parameters keep their
# own bytes.

cdef enum:
    PATTERN_MAX = 255           # bytes of one pattern
    SORT_ON_STACK = 64

cdef struct Parameter:
    uint32_t start
    uint32_t name_len
    uint32_t length


cdef class NamePatterns:
    """Names, or prefixes written `name*`; case matters."""

    def __cinit__(self, texts=()):
        cdef uint32_t i, at = 0
        cdef bytes raw
        cdef const char* text
        self.texts = tuple(texts)
        self.count = len(self.texts)
        self.blob = NULL
        self.starts = NULL
        encoded = [text_.encode("utf-8") for text_ in self.texts]
        for raw in encoded:
            if not raw or len(raw) > PATTERN_MAX or raw.find(b"*") not in (-1, len(raw) - 1):
                raise ValueError(
                    f"{raw!r} is no name of 1 to {PATTERN_MAX} bytes, with a `*` at its end at most"
                )
        self.starts = <uint32_t*>malloc((self.count + 1) * sizeof(uint32_t))
        self.blob = <char*>malloc(sum(map(len, encoded)) + 1)
        if self.starts == NULL or self.blob == NULL:
            raise MemoryError
        for i in range(self.count):
            raw = encoded[i]
            text = raw
            self.starts[i] = at
            memcpy(self.blob + at, text, len(raw))
            at += len(raw)
        self.starts[self.count] = at

    def __dealloc__(self):
        free(self.blob)
        free(self.starts)

    def __bool__(self):
        return self.count > 0

    def __reduce__(self):
        return NamePatterns, (self.texts,)

    def __contains__(self, bytes name not None):
        return self.matches(name, len(name))

    cdef bint matches(self, const char* name, size_t n) noexcept nogil:
        cdef uint32_t i
        cdef size_t length
        cdef const char* pattern
        for i in range(self.count):
            pattern = self.blob + self.starts[i]
            length = self.starts[i + 1] - self.starts[i]
            if pattern[length - 1] == 0x2A:
                if n >= length - 1 and memcmp(pattern, name, length - 1) == 0:
                    return True
            elif n == length and memcmp(pattern, name, n) == 0:
                return True
        return False

    cdef bint matches_parameter(self, const char* name, size_t n) noexcept nogil:
        # One byte more than any pattern can hold: what is cut off decides nothing.
        cdef char decoded[PATTERN_MAX + 1]
        cdef size_t i = 0, out = 0
        cdef uint8_t a, b
        if self.count == 0:
            return False
        if memchr(name, 0x25, n) == NULL:
            return self.matches(name, n)
        while i < n and out <= PATTERN_MAX:
            if name[i] == 0x25 and n - i > 2:
                a = <uint8_t>name[i + 1]
                b = <uint8_t>name[i + 2]
                if CLASS[a] & C_HEX and CLASS[b] & C_HEX:
                    decoded[out] = <char>(HEX_VALUE[a] << 4 | HEX_VALUE[b])
                    out += 1
                    i += 3
                    continue
            decoded[out] = name[i]
            out += 1
            i += 1
        return self.matches(decoded, out)

    cdef bint any_parameter(self, const char* query, size_t n) noexcept nogil:
        cdef Parameter one
        cdef size_t at = 0
        if self.count == 0:
            return False
        while next_parameter(query, n, &at, &one):
            if self.matches_parameter(query + one.start, one.name_len):
                return True
        return False

    cdef bint matches_folded(self, const char* name, size_t n) noexcept nogil:
        cdef uint32_t i
        cdef size_t length, at
        cdef const char* pattern
        for i in range(self.count):
            pattern = self.blob + self.starts[i]
            length = self.starts[i + 1] - self.starts[i]
            if pattern[length - 1] == 0x2A:
                length -= 1
                if n < length:
                    continue
            elif n != length:
                continue
            at = 0
            while at < length and LOWER[<uint8_t>name[at]] == <uint8_t>pattern[at]:
                at += 1
            if at == length:
                return True
        return False

    cdef bint any_cookie(self, const char* value, size_t n) noexcept nogil:
        # Split at every ";", whatever is quoted: no value hides a name, and none is seen where an application sees it not.
        cdef const char* p = value
        cdef const char* end = value + n
        cdef const char* stop
        cdef const char* last
        if self.count == 0:
            return False
        while True:
            stop = <const char*>memchr(p, 0x3B, end - p)
            if stop == NULL:
                stop = end
            last = <const char*>memchr(p, 0x3D, stop - p)
            if last == NULL:
                last = stop
            while p < last and (p[0] == 0x20 or p[0] == 0x09):
                p += 1
            while p < last and ((last - 1)[0] == 0x20 or (last - 1)[0] == 0x09):
                last -= 1
            if self.matches(p, last - p):
                return True
            if stop == end:
                return False
            p = stop + 1

    def in_query(self, bytes query not None):
        """Some parameter of the query has a name that matches."""
        return self.any_parameter(query, len(query))


cdef inline bint next_parameter(const char* query, size_t n, size_t* at, Parameter* out) noexcept nogil:
    """The parameter at at[0], which then stands behind its "&"; False behind the last (at[0] is n + 1)."""
    cdef const char* start = query + at[0]
    cdef const char* mark
    cdef size_t length
    if at[0] > n:
        return False
    length = n - at[0]
    mark = <const char*>memchr(start, 0x26, length)
    if mark != NULL:
        length = mark - start
    out.start = <uint32_t>at[0]
    out.length = <uint32_t>length
    mark = <const char*>memchr(start, 0x3D, length)
    out.name_len = out.length if mark == NULL else <uint32_t>(mark - start)
    at[0] += length + 1
    return True


cdef inline bint name_after(const char* query, const Parameter* a, const Parameter* b) noexcept nogil:
    """a's name sorts behind b's."""
    cdef int order = memcmp(query + a.start, query + b.start, min(a.name_len, b.name_len))
    return order > 0 if order else a.name_len > b.name_len


cdef void merge_sort(const char* query, Parameter* items, Parameter* spare, size_t n) noexcept nogil:
    """Stable, bottom up; the result is in `items`."""
    cdef size_t width = 1
    cdef size_t start, middle, end, i, j, k
    cdef Parameter* source = items
    cdef Parameter* target = spare
    cdef Parameter* swap
    while width < n:
        start = 0
        while start < n:
            middle = min(start + width, n)
            end = min(start + 2 * width, n)
            i = start
            j = middle
            for k in range(start, end):
                if i < middle and (j == end or not name_after(query, &source[i], &source[j])):
                    target[k] = source[i]
                    i += 1
                else:
                    target[k] = source[j]
                    j += 1
            start = end
        swap = source
        source = target
        target = swap
        width *= 2
    if source != items:
        memcpy(items, source, n * sizeof(Parameter))


cdef class QueryFilter:
    """`apply` keeps the parameters that `only` names and `ignore` does not, sorted by name (stable) where
    asked."""

    def __cinit__(self, ignore=(), only=None, bint sort=False):
        self.ignore = NamePatterns(ignore)
        self.has_only = only is not None
        self.only = NamePatterns(only or ())
        self.sort = sort
        self.active = bool(self.ignore.count or self.has_only or sort)

    cdef int apply(self, const char* src, size_t n, char* dst) noexcept nogil:
        cdef Parameter on_stack[2 * SORT_ON_STACK]
        cdef Parameter one
        cdef Parameter* kept = NULL
        cdef size_t at = 0, count = 0, total = 1, i
        cdef char* p = dst
        if not self.active:
            memcpy(dst, src, n)
            return <int>n
        if self.sort:
            kept = on_stack
            for i in range(n):
                total += src[i] == 0x26
            if total > SORT_ON_STACK:
                # NULL, no memory: unsorted, still a key of its own.
                kept = <Parameter*>malloc(2 * total * sizeof(Parameter))
        while next_parameter(src, n, &at, &one):
            if self.has_only and not self.only.matches_parameter(src + one.start, one.name_len):
                continue
            if self.ignore.matches_parameter(src + one.start, one.name_len):
                continue
            if kept != NULL:
                kept[count] = one
            else:
                p = put_parameter(p, p != dst or count, src, &one)
            count += 1
        if kept != NULL:
            merge_sort(src, kept, kept + total, count)
            for i in range(count):
                p = put_parameter(p, i > 0, src, &kept[i])
            if kept != on_stack:
                free(kept)
        return <int>(p - dst) if count else -1

    def filter(self, bytes query not None):
        """The kept query, or None when no parameter is left."""
        cdef char* dst = <char*>malloc(len(query) + 1)
        cdef int n
        if dst == NULL:
            raise MemoryError
        try:
            n = self.apply(query, len(query), dst)
            return None if n < 0 else dst[:n]
        finally:
            free(dst)


cdef inline char* put_parameter(char* dst, bint behind, const char* query,
                                const Parameter* one) noexcept nogil:
    if behind:
        dst[0] = 0x26
        dst += 1
    return put_bytes(dst, query + one.start, one.length)


def query_parameters(bytes query not None):
    """Every parameter of a query in order: (name with %XX decoded, raw bytes with its "=" and value)."""
    cdef Parameter one
    cdef size_t at = 0
    from urllib.parse import unquote_to_bytes

    out = []
    while next_parameter(query, len(query), &at, &one):
        out.append((
            unquote_to_bytes(query[one.start:one.start + one.name_len]),
            query[one.start:one.start + one.length],
        ))
    return out
