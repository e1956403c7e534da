"""From a Vary specification and a request to the rest of a variant's key, without deciding anything twice.

What a field's value means for selection is the rules' (`rules.vary.key_extras`); browsers send few different values, so
each one's normal form is asked for once and remembered. It must not know records.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from cdn._core cimport FieldSpan, RequestHead, same_folded

cdef enum:
    SLOTS = 1024
    MOST = 512              # then everything is forgotten
    VALUE_ROOM = 1024       # a longer value (all lines joined) is not for the lane


cdef inline uint64_t _mix(uint64_t h, const char* text, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        h = (h ^ <unsigned char>text[i]) * 1099511628211ULL
    return h


cdef inline char* _part(char* dst, const char* text, uint32_t n) noexcept nogil:
    memcpy(dst, &n, 4)
    memcpy(dst + 4, text, n)
    return dst + 4 + n


cdef class Normaliser:
    """`compute(name, value) -> bytes`, both latin-1 str, gives the extra for a field that is there.

    A route with content codings has a name of its own for Accept-Encoding, see `CompiledRoute.coding`.
    """

    def __cinit__(self, compute):
        self.compute = compute
        self.table = <Remembered*>calloc(SLOTS, sizeof(Remembered))
        self.joined = <char*>malloc(VALUE_ROOM)
        if self.table == NULL or self.joined == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.table != NULL:
            self._clear()
        free(self.table)
        free(self.joined)

    cdef void _clear(self) noexcept nogil:
        cdef uint32_t i
        for i in range(SLOTS):
            free(self.table[i].bytes)
            self.table[i].bytes = NULL
        self.used = 0

    cdef Remembered* _find(self, const char* name, size_t nn, const char* value, size_t nv) noexcept nogil:
        cdef uint64_t h = _mix(_mix(14695981039346656037ULL, name, nn) ^ 255, value, nv)
        cdef uint32_t at = h & (SLOTS - 1)
        cdef Remembered* r
        while True:
            r = &self.table[at]
            if r.bytes == NULL:
                return NULL
            if (r.hash == h and r.name_len == nn and r.value_len == nv
                    and memcmp(r.bytes, name, nn) == 0 and memcmp(r.bytes + nn, value, nv) == 0):
                return r
            at = (at + 1) & (SLOTS - 1)

    cdef Remembered* _learn(self, const char* name, size_t nn, const char* value, size_t nv) noexcept with gil:
        cdef bytes extra = self.compute(name[:nn].decode("latin-1"), value[:nv].decode("latin-1"))
        cdef uint64_t h = _mix(_mix(14695981039346656037ULL, name, nn) ^ 255, value, nv)
        cdef uint32_t at = h & (SLOTS - 1)
        cdef Remembered* r
        cdef const char* text = extra
        cdef char* room
        self.computed += 1
        if self.used >= MOST:
            self._clear()
        while self.table[at].bytes != NULL:
            at = (at + 1) & (SLOTS - 1)
        room = <char*>malloc(nn + nv + len(extra) + 1)
        if room == NULL:
            return NULL
        r = &self.table[at]
        r.hash = h
        r.name_len = nn
        r.value_len = nv
        r.extra_len = len(extra)
        memcpy(room, name, nn)
        memcpy(room + nn, value, nv)
        memcpy(room + nn + nv, text, r.extra_len)
        r.bytes = room
        self.used += 1
        return r

    cdef int64_t append_variant(self, const char* names, size_t n, const char* buf, RequestHead* head,
                                const char* coding, size_t coding_len, char* dst, size_t room) noexcept nogil:
        """Write what parts the variant's key from the primary one, as `lookup.variant_key` does.

        `names` is a specification as a marker has it (u8 length, name; repeated), `n` its bytes. `coding` is the
        route's (`CompiledRoute`): the value of Accept-Encoding is then asked for under that name, and a missing one
        counts as empty. Returns the bytes written, -1 when the request is not for the lane.
        """
        cdef const char* p = names
        cdef const char* end = names + n
        cdef const char* value
        cdef const char* name
        cdef char* start = dst
        cdef char* limit = dst + room
        cdef char* listed
        cdef size_t nn, nv, name_len
        cdef uint32_t i, lines, total
        cdef FieldSpan* f
        cdef Remembered* r
        if 4 + 5 + 4 + n > room:
            return -1
        dst = _part(dst, b"\x00vary", 5)
        listed = dst + 4
        while p < end:
            nn = <unsigned char>p[0]
            if listed != dst + 4:
                listed[0] = b","
                listed += 1
            memcpy(listed, p + 1, nn)
            listed += nn
            p += 1 + nn
        total = listed - (dst + 4)
        memcpy(dst, &total, 4)
        dst = listed
        p = names
        while p < end:
            nn = <unsigned char>p[0]
            lines = 0
            nv = 0
            value = NULL
            for i in range(head.nfields):
                f = &head.fields[i]
                if f.name_len != nn or not same_folded(buf + f.name, nn, p + 1, nn):
                    continue
                lines += 1
                if lines == 1:
                    value = buf + f.value
                    nv = f.value_len
                    if nv > VALUE_ROOM:
                        return -1
                    continue
                if nv + 2 + f.value_len > VALUE_ROOM:
                    return -1
                if lines == 2:
                    memcpy(self.joined, value, nv)
                    value = self.joined
                memcpy(self.joined + nv, b", ", 2)
                memcpy(self.joined + nv + 2, buf + f.value, f.value_len)
                nv += 2 + f.value_len
            name = p + 1
            name_len = nn
            if coding != NULL and nn == 15 and memcmp(name, b"accept-encoding", 15) == 0:
                name = coding
                name_len = coding_len
                if lines == 0:
                    value = b""
                    lines = 1
            if lines == 0:
                if dst + 5 > limit:
                    return -1
                dst = _part(dst, b"\x00", 1)
            else:
                r = self._find(name, name_len, value, nv)
                if r == NULL:
                    r = self._learn(name, name_len, value, nv)
                if r == NULL or dst + 4 + r.extra_len > limit:
                    return -1
                dst = _part(dst, r.bytes + name_len + nv, r.extra_len)
            p += 1 + nn
        return dst - start
