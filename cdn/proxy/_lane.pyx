"""The hit lane: a GET or HEAD whose response is stored and fresh is answered here, by comparing only.

Decides nothing that was not decided at fill time: it normalises and hashes the key, compares the record's stamp and times
with now, evaluates the request's conditions against the record's validators, and writes the head. It must not know cache
rules; whatever is not plain (request directives, several ranges, a changed stamp, a stale record, an edge's word that
the exchange has not believed yet) it declines, and the exchange takes the request.
"""

from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy
from posix.uio cimport iovec

from cdn._core cimport (
    F_CACHE_CONTROL, F_CDN_EDGE, F_EXPECT, F_HTTP2_SETTINGS, F_IF_MATCH, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH,
    F_IF_RANGE, F_IF_UNMODIFIED_SINCE, F_PRAGMA, F_RANGE, F_UPGRADE, FieldSpan, M_GET, M_HEAD, QueryFilter,
    RANGE_IGNORE, RANGE_ONE, RequestHead, TARGET_PLAIN, TargetParts, etag_list_matches, parse_http_date,
    parse_range, put_uint, split_request_target, write_key,
)
from cdn.proxy._clock cimport Clock
from cdn.proxy._routes cimport CompiledRoute, RouteTable
from cdn.proxy._variants cimport Normaliser, Specs, next_spec, specs_begin
from cdn.proxy._words cimport NO_WORD, Words
from cdn.store._journal cimport Journal
from cdn.store._memory cimport Memory, Sight
from cdn.store.layout cimport NO_TIME, RECORD_NO_BODY, RECORD_OLD_ORIGIN, RECORD_VARY_MARKER, Record

cdef enum:
    LISTING = 20                # bytes of a list of slices
    TOKEN = 8

# What is behind a URL's or a variant's key in those of its slices; `stored_slices.py` has the layouts.
cdef const char* LIST_SUFFIX = b"\x07\0\0\0\0slices"
cdef const char* SLICE_SUFFIX = b"\x06\0\0\0\0slice\x08\0\0\0"
cdef enum:
    LIST_SUFFIX_LEN = 11
    SLICE_SUFFIX_LEN = 14

# Fields that take a request out of the lane.
cdef uint64_t NEVER = (
    (1ULL << F_EXPECT) | (1ULL << F_UPGRADE) | (1ULL << F_HTTP2_SETTINGS)
    | (1ULL << F_IF_MATCH) | (1ULL << F_IF_UNMODIFIED_SINCE)
)
cdef uint64_t DIRECTIVES = (1ULL << F_CACHE_CONTROL) | (1ULL << F_PRAGMA)
cdef uint64_t CONDITIONS = (1ULL << F_IF_NONE_MATCH) | (1ULL << F_IF_MODIFIED_SINCE)


# hot
cdef inline FieldSpan* _only(RequestHead* head, int which) noexcept nogil:
    """The single field with this id, or NULL when there are several."""
    cdef uint32_t i
    cdef FieldSpan* found = NULL
    for i in range(head.nfields):
        if <int>head.fields[i].id == which:
            if found != NULL:
                return NULL
            found = &head.fields[i]
    return found


include "lane/composing.pyx"
include "lane/covering.pyx"


cdef class HitLane:
    """One per worker."""

    def __cinit__(self, Memory memory, Journal journal, Clock clock, str name, Normaliser normaliser, Words words):
        self.normaliser = normaliser
        self.words = words
        self.memory = memory
        self.journal = journal
        self.clock = clock
        self.enabled = True
        self.name = name.encode("ascii")
        self.via_line = b"Via: 1.1 " + self.name + b"\r\n"
        self.status_head = b"Cache-Status: " + self.name + b"; hit; ttl="
        self.old_via_line = b"Via: 1.0 " + self.name + b"\r\n"
        self.via = self.via_line
        self.old_via = self.old_via_line
        self.via_len = len(self.via_line)
        self.member = self.status_head
        self.member_len = len(self.status_head)
        self.scratch = <char*>malloc(SCRATCH)
        self.key = <char*>malloc(KEY_ROOM + KEY_SPARE)
        self.routes = RouteTable(())
        if self.scratch == NULL or self.key == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.scratch)
        free(self.key)

    def use(self, RouteTable routes) -> None:
        """Answer by these routes from now on."""
        self.routes = routes

    def stats(self) -> dict:
        return {
            "hits": self.counters.hits,
            "not_modified": self.counters.not_modified,
            "ranges": self.counters.ranges,
        }

    # hot
    cdef Record* _select(self, const char* buf, RequestHead* head, size_t n, CompiledRoute* c, const char* suffix,
                         size_t suffix_len, size_t* key_len, Record* copy) noexcept nogil:
        """The record under the key of length `n` in `self.key`; a vary marker is followed to the variant. `copy` is its
        header, and `self.key` its key.

        With a suffix, what lies under that key, or the variant's, and the suffix. `key_len` is then the length of the key
        before it, in `self.key`. NULL also where several specifications match: the newest Date decides then, which the
        exchange knows.
        """
        cdef Record* r = self.memory.find(self.key, n)
        cdef Record* found
        cdef Record* marker
        cdef char* meta = self.scratch + MARKER_AT
        cdef Specs specs
        cdef const char* names
        cdef size_t length
        cdef int got
        cdef int64_t more
        if r == NULL:
            if suffix_len == 0:
                return NULL
            key_len[0] = n
            memcpy(self.key + n, suffix, suffix_len)
            r = self.memory.find(self.key, n + suffix_len)
            return r if r != NULL and self.memory.snapshot(r, copy) else NULL
        if not self.memory.snapshot(r, copy):
            return NULL
        if not copy.flags & RECORD_VARY_MARKER:
            return r
        marker = r
        memcpy(meta, <const char*>(r + 1) + copy.key_len + copy.head_len, copy.meta_len)
        if not self.memory.unchanged():
            return NULL
        if not specs_begin(&specs, meta, copy.meta_len):
            return NULL
        found = NULL
        while True:
            got = next_spec(&specs, &names, &length)
            if got == 0:
                break
            more = -1 if got < 0 else self.normaliser.append_variant(names, length, buf, head, c.coding, c.coding_len,
                                                                     self.key + n, KEY_ROOM - n)
            if more < 0:
                return NULL
            memcpy(self.key + n + more, suffix, suffix_len)
            r = self.memory.find(self.key, n + more + suffix_len)
            if r != NULL:
                if found != NULL or not self.memory.snapshot(r, copy):
                    return NULL
                found = r
                key_len[0] = n + more
        if found != NULL:
            self.memory.touch(marker, self.clock.read())
            # the key of another specification may have been written over it
            memcpy(self.key, found + 1, copy.key_len)
        return found

    # hot
    cdef int64_t _list(self, Record* r, const Record* h, int64_t* size) noexcept nogil:
        """The complete length that a list of slices tells, and into `size` how long they are; -1: it is no list."""
        cdef iovec iov[2]
        cdef int64_t length
        cdef uint32_t each
        if h.body_length != LISTING or self.memory.copy_iov(r, h, 0, LISTING, iov, 2) != 1:
            return -1
        memcpy(self.listing, iov[0].iov_base, LISTING)
        memcpy(&length, self.listing, 8)
        memcpy(&each, self.listing + 8 + TOKEN, 4)
        size[0] = each
        return -1 if each == 0 or length <= 0 or not self.memory.unchanged() else length

    # hot
    cdef Record* _slice(self, size_t base_len, int64_t first, int64_t last, int64_t size,
                        Record* copy) noexcept nogil:
        """The one slice with all the bytes `first` to `last` of what `_list` has read; NULL: it takes another one, too."""
        cdef uint64_t number = first // size
        cdef int64_t begin = number * size
        cdef int64_t end, length
        cdef Record* r
        if last >= begin + size:
            return NULL
        memcpy(&length, self.listing, 8)
        memcpy(self.key + base_len, SLICE_SUFFIX, SLICE_SUFFIX_LEN)
        memcpy(self.key + base_len + SLICE_SUFFIX_LEN, &number, 8)
        r = self.memory.find(self.key, base_len + SLICE_SUFFIX_LEN + 8)
        if r == NULL or not self.memory.snapshot(r, copy) or copy.meta_len != TOKEN:
            return NULL
        if memcmp(<const char*>(r + 1) + copy.key_len + copy.head_len, self.listing + 8, TOKEN) != 0:
            return NULL
        end = begin + size if begin + size < length else length
        return r if <int64_t>copy.body_length == end - begin else NULL

    # hot
    cdef int answer(self, const char* buf, RequestHead* head, bint secure, NameSet names,
                    Answer* out) noexcept nogil:
        """1: answered, `out` is filled. 0: declined, nothing happened."""
        cdef char* authority = self.scratch
        cdef char* path = self.scratch + TARGET_ROOM
        cdef char* query_room = self.scratch + SCRATCH - TARGET_ROOM
        cdef const char* query = NULL
        cdef TargetParts parts
        cdef int route, said
        cdef bint covered = names is None
        cdef bint edge = False
        cdef size_t na, np
        cdef int64_t nq, now, age, ttl, first = 0, last = 0, length, date
        cdef size_t host, n
        cdef CompiledRoute* c
        cdef Record* r
        cdef Record* b              # whose body is sent: r's own, or one of its slices'
        cdef Record h, hb           # their headers
        cdef Sight sight            # of the list, where b is a slice
        cdef const char* stored
        cdef bint sliced = False
        cdef size_t base_len = 0
        cdef int64_t size = 0, total, at
        cdef FieldSpan* f
        cdef char* dst
        cdef int kind, status = 0, pieces, i
        cdef iovec iov[8]
        cdef uint64_t left

        self.located.step = AT_NOTHING
        if not self.enabled or (head.method_id != M_GET and head.method_id != M_HEAD):
            return 0
        if head.minor != 1 or head.chunked or head.content_length >= 0 or head.present & NEVER:
            return 0
        if head.target_len >= TARGET_ROOM or head.length >= 2 * TARGET_ROOM:
            return 0
        if head.present & (1ULL << F_CDN_EDGE):
            # an edge's: the scheme is what its own client used, and the certificate is not about the host
            f = _only(head, F_CDN_EDGE)
            said = NO_WORD if f == NULL else self.words.heard(buf, head, f, self.clock.read(), self.scratch)
            if said == NO_WORD:
                return 0
            secure, covered, edge = said, True, True
        if split_request_target(head, buf, secure, authority, path, &parts) != TARGET_PLAIN:
            return 0
        na = parts.authority_len
        np = parts.path_len
        nq = parts.query_len
        query = buf + parts.query
        host = _host_length(authority, na)
        if not covered and not names.covers(authority, host):
            return 0
        route = self.routes.match(authority, host, path, np, head.method_id,
                                  buf + head.method, head.method_len)
        if route < 0:
            return 0
        c = &self.routes.compiled[route]
        self.located = Located(AT_ROUTE, route, authority, na, path, np, query, nq, self.key, 0, secure, edge, False)
        if c.rules and self.routes.by_rule(route, buf, head, query, nq):
            self.located.passed = True
            return 0
        if not c.lane or (c.directives and head.present & DIRECTIVES):
            return 0
        if nq >= 0 and c.filtered:
            nq = (<QueryFilter>c.filter).apply(query, nq, query_room)
            query = query_room
        n = write_key(secure, authority, na, path, np, query, nq, self.key)
        self.located = Located(AT_KEY, route, authority, na, path, np, query, nq, self.key, n, secure, edge, False)
        # Without a lock or a pin: what is read of r below counts only if `unchanged` says so at the end.
        r = self._select(buf, head, n, c, b"", 0, &base_len, &h)
        if r == NULL and head.method_id == M_GET and head.present & (1ULL << F_RANGE) and c.sliced:
            r = self._select(buf, head, n, c, LIST_SUFFIX, LIST_SUFFIX_LEN, &base_len, &h)
            sliced = True
        if r == NULL or not self.journal.is_current(h.stamp, self.key, n):
            return 0
        stored = <const char*>(r + 1) + h.key_len
        now = self.clock.read()
        if now >= h.fresh_until:
            return 0
        total = self._list(r, &h, &size) if sliced else <int64_t>h.body_length
        if total < 0:
            return 0
        length = total

        if h.status == 200:
            if head.present & (1ULL << F_IF_NONE_MATCH):
                f = _only(head, F_IF_NONE_MATCH)
                if f == NULL:
                    return 0
                if etag_list_matches(buf + f.value, f.value_len, stored + h.etag, h.etag_len, True):
                    status = 304
            elif head.present & (1ULL << F_IF_MODIFIED_SINCE):
                if h.last_modified == NO_TIME:
                    return 0        # compared with Date, which is not in the record
                f = _only(head, F_IF_MODIFIED_SINCE)
                if f == NULL:
                    return 0
                date = parse_http_date(buf + f.value, f.value_len, now // 1000)
                if date != INT64_MIN and h.last_modified <= date:
                    status = 304
            if status == 0 and head.present & (1ULL << F_RANGE) and head.method_id == M_GET:
                f = _only(head, F_RANGE)
                if f == NULL:
                    return 0
                kind = parse_range(buf + f.value, f.value_len, length, &first, &last)
                if kind == RANGE_ONE:
                    status = 206
                elif kind != RANGE_IGNORE:
                    return 0
                if status == 206 and head.present & (1ULL << F_IF_RANGE):
                    f = _only(head, F_IF_RANGE)
                    if f == NULL or f.value_len < 2 or buf[f.value] != b'"':
                        return 0        # a date, or a weak tag: the exchange knows whether it is strong enough
                    if f.value_len != h.etag_len or memcmp(
                            buf + f.value, stored + h.etag, h.etag_len) != 0:
                        status = 0
        elif head.present & CONDITIONS or head.present & (1ULL << F_RANGE):
            return 0

        b, at = r, 0
        if status == 206:
            length = last - first + 1
            at = first
        else:
            first = 0
        if sliced:
            if status != 206:
                return 0
            sight = self.memory.s.seen
            b = self._slice(base_len, first, last, size, &hb)
            if b == NULL:
                return 0
            at = first % size
        else:
            hb = h
        age = (now - h.born) // 1000 if now > h.born else 0     # the clock of whoever stored it may be a little ahead
        ttl = (h.fresh_until - now) // 1000
        self.located.step = AT_NOTHING      # from here on the answer is written over authority and path
        dst = compose(self.scratch, stored, h.head_len, h.status_line_len, h.lines_304, status,
                      -1 if h.flags & RECORD_NO_BODY else length, first, total, age)
        dst = _literal(dst, self.old_via if h.flags & RECORD_OLD_ORIGIN else self.via, self.via_len)
        dst = _literal(dst, self.member, self.member_len)
        dst = put_uint(dst, ttl)
        if head.close:
            dst = _literal(dst, b"\r\nConnection: close", 19)
        dst = _literal(dst, b"\r\n\r\n", 4)

        if sliced:
            # of two records, the list: what is left to be checked is the slice
            if not self.memory.same(&sight):
                return 0
            self.memory.touch(b, now)
        out.record = NULL
        out.status = status if status else h.status
        out.route = route
        out.key = self.key
        out.key_len = base_len if sliced else h.key_len
        out.body_length = 0
        if status != 304 and head.method_id == M_GET and length > 0:
            out.body_length = length
            if length <= COPY_LIMIT:
                pieces = self.memory.copy_iov(b, &hb, at, length, iov, 8)
                left = length
                for i in range(pieces):
                    dst = _literal(dst, <const char*>iov[i].iov_base, iov[i].iov_len)
                    left -= iov[i].iov_len
                if left:
                    return 0
            else:
                if not self.memory.pin(b):
                    return 0
                out.record = b
                out.offset = at
                out.length = length
        if out.record == NULL and not self.memory.unchanged():
            return 0
        out.out = self.scratch
        out.out_len = dst - self.scratch
        self.memory.touch(r, now)
        if status == 304:
            self.counters.not_modified += 1
        elif status == 206:
            self.counters.ranges += 1
        self.counters.hits += 1
        return 1
