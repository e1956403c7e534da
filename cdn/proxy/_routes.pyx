"""Which route takes a request: configuration compiled once, matched without Python.

Decides by host, path and method alone, first match wins. Of what a route then does it knows what the lanes compare with: a
few bits, and the names by which its rules pass a request.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, strlen

from cdn._core cimport (
    F_COOKIE, FieldSpan, MAX_FIELDS, M_DELETE, M_GET, M_HEAD, M_OPTIONS, M_OTHER, M_PATCH, M_POST, M_PUT, NamePatterns,
    QueryFilter, RequestHead, scan_request,
)

from cdn._core import NamePatterns, QueryFilter

_METHODS = {
    "GET": M_GET, "HEAD": M_HEAD, "POST": M_POST, "PUT": M_PUT,
    "DELETE": M_DELETE, "OPTIONS": M_OPTIONS, "PATCH": M_PATCH,
}


# hot
cdef inline uint32_t _mix(const char* text, size_t n) noexcept nogil:
    # FNV-1a; the table is built from configuration, so a stranger cannot fill it
    cdef uint32_t h = 2166136261u
    cdef size_t i
    for i in range(n):
        h = (h ^ <unsigned char>text[i]) * 16777619u
    return h


# hot
cdef bint _glob(const char* pattern, size_t n, const char* text, size_t m) noexcept nogil:
    """`*` matches any run of bytes; linear back-tracking to the last star only."""
    cdef size_t p = 0, t = 0, star = n, mark = 0
    while t < m:
        if p < n and pattern[p] == b"*":
            star = p
            mark = t
            p += 1
        elif p < n and pattern[p] == text[t]:
            p += 1
            t += 1
        elif star != n:
            p = star + 1
            mark += 1
            t = mark
        else:
            return False
    while p < n and pattern[p] == b"*":
        p += 1
    return p == n


cdef class RouteTable:
    """The routes of one configuration."""

    def __cinit__(self, routes):
        cdef uint32_t i, at, width
        cdef CompiledRoute* c
        self.routes = tuple(routes)
        self.count = len(self.routes)
        self.keep = []
        self.filters = []
        self.compiled = <CompiledRoute*>calloc(self.count + 1, sizeof(CompiledRoute))
        if self.compiled == NULL:
            raise MemoryError
        for i in range(self.count):
            self._compile(i, self.routes[i])
        self._compile_hosts()

    def __dealloc__(self):
        free(self.compiled)
        free(self.slot_host)
        free(self.slot_length)
        free(self.slot_routes)
        free(self.slot_count)
        free(self.suffix)
        free(self.suffix_length)
        free(self.suffix_route)

    def _compile(self, uint32_t i, route):
        cdef CompiledRoute* c = &self.compiled[i]
        cdef bytes text = route.match.path.encode("latin-1")
        if text == b"/*" or text == b"*":
            c.path.kind = PATH_ANY
        elif b"*" not in text:
            c.path.kind = PATH_EXACT
        elif text.index(b"*") == len(text) - 1:
            c.path.kind = PATH_PREFIX
            text = text[: len(text) - 1]
        else:
            c.path.kind = PATH_GLOB
        self.keep.append(text)
        c.path.text = text
        c.path.length = len(text)
        for method in route.match.methods:
            if method in _METHODS:
                c.methods |= 1u << <int>_METHODS[method]
            else:
                c.other_methods = True
        cache = route.cache
        if cache is None:
            self.filters.append(QueryFilter((), None, False))
            return
        query = cache.key.query
        self.filters.append(QueryFilter(query.ignore, query.only, query.sort))
        c.cached = True
        c.filter = <void*>self.filters[i]
        c.filtered = self.filters[i].active
        c.lane = not (cache.key.headers or cache.key.cookies)
        passed = [NamePatterns(names) for names in (cache.bypass.headers, cache.bypass.cookies, cache.bypass.query)]
        self.keep += passed
        c.rules = any(passed)
        c.passed_fields, c.passed_cookies, c.passed_query = <void*>passed[0], <void*>passed[1], <void*>passed[2]
        c.directives = cache.request_directives != "none"
        c.sliced = cache.slices and not route.compress
        if route.compress:
            text = b"accept-encoding\0" + ",".join(route.compress).encode("ascii")
            self.keep.append(text)
            c.coding = text
            c.coding_len = len(text)

    def _compile_hosts(self):
        cdef uint32_t i, at
        cdef bytes text, packed
        hosts = sorted({h for r in self.routes for h in r.match.hosts if not h.startswith("*")})
        self.exact = {h: [r.index for r in self.routes if _host_matches(r, h)] for h in hosts}
        self.slots = 4
        while self.slots < 2 * len(hosts) + 2:
            self.slots *= 2
        self.slot_host = <const char**>calloc(self.slots, sizeof(char*))
        self.slot_length = <uint32_t*>calloc(self.slots, sizeof(uint32_t))
        self.slot_routes = <const int32_t**>calloc(self.slots, sizeof(int32_t*))
        self.slot_count = <uint32_t*>calloc(self.slots, sizeof(uint32_t))
        for host, candidates in self.exact.items():
            text = host.encode("ascii")
            packed = b"".join(int(x).to_bytes(4, "little") for x in candidates) or b"\0\0\0\0"
            self.keep += [text, packed]
            at = _mix(text, len(text)) & (self.slots - 1)
            while self.slot_host[at] != NULL:
                at = (at + 1) & (self.slots - 1)
            self.slot_host[at] = text
            self.slot_length[at] = len(text)
            self.slot_routes[at] = <const int32_t*><const char*>packed
            self.slot_count[at] = len(candidates)
        loose = []
        for r in self.routes:
            if not r.match.hosts:
                loose.append((None, r.index))
            for h in r.match.hosts:
                if h.startswith("*"):
                    loose.append((h[1:].encode("ascii"), r.index))
        self.nsuffix = len(loose)
        self.suffix = <const char**>calloc(self.nsuffix + 1, sizeof(char*))
        self.suffix_length = <uint32_t*>calloc(self.nsuffix + 1, sizeof(uint32_t))
        self.suffix_route = <int32_t*>calloc(self.nsuffix + 1, sizeof(int32_t))
        for i in range(self.nsuffix):
            suffix, index = loose[i]
            if suffix is not None:
                self.keep.append(suffix)
                self.suffix[i] = suffix
                self.suffix_length[i] = len(suffix)
            self.suffix_route[i] = index

    cdef bint _accepts(self, int route, const char* path, size_t np, int method,
                       const char* name, size_t nm) noexcept nogil:
        cdef CompiledRoute* c = &self.compiled[route]
        if c.methods or c.other_methods:
            if method != M_OTHER:
                if not (c.methods >> method) & 1:
                    if not c.other_methods or not self._named(route, name, nm):
                        return False
            elif not c.other_methods or not self._named(route, name, nm):
                return False
        if c.path.kind == PATH_ANY:
            return True
        if c.path.kind == PATH_EXACT:
            return np == c.path.length and memcmp(path, c.path.text, np) == 0
        if c.path.kind == PATH_PREFIX:
            return np >= c.path.length and memcmp(path, c.path.text, c.path.length) == 0
        return _glob(c.path.text, c.path.length, path, np)

    cdef bint _named(self, int route, const char* name, size_t nm) noexcept with gil:
        return name[:nm].decode("latin-1") in self.routes[route].match.methods

    # hot
    cdef int match(self, const char* host, size_t nh, const char* path, size_t np,
                   int method, const char* name, size_t nm) noexcept nogil:
        """The index of the route, NO_HOST or NO_ROUTE. `host` is normalised, without a port."""
        cdef uint32_t at = _mix(host, nh) & (self.slots - 1)
        cdef uint32_t i
        cdef bint known = False
        while self.slot_host[at] != NULL:
            if self.slot_length[at] == nh and memcmp(self.slot_host[at], host, nh) == 0:
                for i in range(self.slot_count[at]):
                    if self._accepts(self.slot_routes[at][i], path, np, method, name, nm):
                        return self.slot_routes[at][i]
                return NO_ROUTE
            at = (at + 1) & (self.slots - 1)
        for i in range(self.nsuffix):
            if self.suffix[i] != NULL:
                if nh <= self.suffix_length[i]:
                    continue
                if memcmp(host + nh - self.suffix_length[i], self.suffix[i], self.suffix_length[i]) != 0:
                    continue
            known = True
            if self._accepts(self.suffix_route[i], path, np, method, name, nm):
                return self.suffix_route[i]
        return NO_ROUTE if known else NO_HOST

    # hot
    cdef bint by_rule(self, int route, const char* buf, const RequestHead* head, const char* query,
                      int64_t nq) noexcept nogil:
        """Whether one of the route's rules passes a request, as `rules.storing.bypass` says of them. `query` is the raw
        one, `nq` < 0 none."""
        cdef CompiledRoute* c = &self.compiled[route]
        cdef const FieldSpan* f
        cdef uint32_t i
        if not c.rules:
            return False
        for i in range(head.nfields):
            f = &head.fields[i]
            if f.id == F_COOKIE and (<NamePatterns>c.passed_cookies).any_cookie(buf + f.value, f.value_len):
                return True
            if (<NamePatterns>c.passed_fields).matches_folded(buf + f.name, f.name_len):
                return True
        return nq > 0 and (<NamePatterns>c.passed_query).any_parameter(query, nq)

    def passed_by_rule(self, int index, bytes head not None, query) -> bool:
        """`by_rule` of a whole request head; raises ValueError where that is none."""
        cdef RequestHead scanned
        cdef size_t resume = 0
        cdef bytes text = b"" if query is None else query
        if not 0 <= index < <int>self.count:
            raise IndexError(index)
        if scan_request(head, len(head), &resume, len(head), MAX_FIELDS, &scanned) <= 0:
            raise ValueError("no whole request head")
        return self.by_rule(index, head, &scanned, text, -1 if query is None else len(text))

    def find(self, str host, str path, str method) -> int:
        """The index of the route, -1 (no route knows the host: 421) or -2 (no route matches: 404).

        `host` is a normalised authority; a port in it is not part of the match.
        """
        cdef bytes h = _without_port(host).encode("latin-1")
        cdef bytes p = path.encode("latin-1")
        cdef bytes m = method.encode("latin-1")
        return self.match(h, len(h), p, len(p), _METHODS.get(method, M_OTHER), m, len(m))

    def query_filter(self, int index):
        return self.filters[index]


def _without_port(authority):
    if authority.startswith("["):
        return authority[: authority.index("]") + 1]
    return authority.partition(":")[0]


def _host_matches(route, host):
    if not route.match.hosts:
        return True
    return any(host == h or (h.startswith("*") and host.endswith(h[1:]) and len(host) > len(h) - 1)
               for h in route.match.hosts)
