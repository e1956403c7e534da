# Part of cdn/proxy/_fill.pyx: which requests the lane takes, and what it sends to the origin.


cdef class FillLane(Lane):
    """One per worker. `use` before the first request, and again with every configuration."""

    cdef object site
    cdef dict flights           # the site's
    cdef public object disk     # the same as the site's, once it has one
    cdef object loop
    cdef HitLane hit
    cdef Memory memory
    cdef Clock clock
    cdef HitLog log
    cdef public bint enabled
    cdef RouteTable table       # that `ways` are of
    cdef list ways
    cdef uint64_t epoch
    cdef str node
    cdef bytes via, old_via
    cdef tuple stored           # what goes before and behind the ttl in Cache-Status; the second for a further variant
    cdef dict unstored          # (status, reason, whether of a further variant) -> Cache-Status line
    cdef uint64_t object_limit
    cdef char* space
    cdef size_t held            # bytes of a response head in `space` that wait for what follows them
    cdef bytes parts, slices    # what goes behind a key to that of its index of parts, and of its list of slices
    cdef Counts counts
    cdef uint64_t outcomes[OUTCOMES]
    cdef uint64_t passed        # for the one reason of a pass
    cdef dict reasons
    cdef readonly uint64_t handed_over
    cdef readonly uint32_t active

    def __cinit__(self, site, HitLane hit, HitLog log, loop):
        self.site = site
        self.flights = site.flights
        self.disk = site.disk
        self.loop = loop
        self.hit = hit
        self.memory = hit.memory
        self.clock = hit.clock
        self.log = log
        self.enabled = True
        self.reasons = {}
        self.parts = stored_parts.index_key(b"")
        self.slices = stored_slices.list_key(b"")
        self.space = <char*>malloc(ROOM)
        if self.space == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.space)

    def use(self) -> None:
        """Take over the site's configuration."""
        config = self.site.config
        if self.table is not None:
            self.flush()
        self.table = self.site.table
        self.epoch += 1
        self.node = self.site.name
        self.ways = [Way(route, config.origins.get(route.origin), self.site, self.node, self.table)
                     for route in self.table.routes]
        self.via = f"Via: 1.1 {self.node}\r\n".encode("latin-1")
        self.old_via = f"Via: 1.0 {self.node}\r\n".encode("latin-1")
        self.stored = (filling.stored_status(self.node, False), filling.stored_status(self.node, True))
        self.unstored = {}
        self.object_limit = config.limits.object

    def flush(self) -> None:
        """Give what was counted to the site's counters."""
        cdef Way way
        counters = self.site.counters
        if self.passed:
            self.reasons[ROUTE_OFF] = self.passed
        counters.take(
            "fill", {name: self.outcomes[i] for i, name in enumerate(OUTCOME_NAMES) if self.outcomes[i]},
            self.reasons, [self.counts.statuses[i] for i in range(6)],
            [self.counts.buckets[i] for i in range(NBUCKETS + 1)], self.counts.micros, self.counts.body_bytes,
        )
        memset(self.outcomes, 0, sizeof(self.outcomes))
        self.passed = 0
        self.reasons = {}
        memset(&self.counts, 0, sizeof(Counts))
        for way in self.ways:
            if way.requests and way.shields is not None:
                way.shields.asked(way.requests)
            if way.requests or way.errors or way.received:
                origin = counters.origin(way.origin)
                origin["requests"] += way.requests
                origin["errors"] += way.errors
                origin["bytes"] += way.received
                way.requests = way.errors = way.received = 0

    cdef bint take(self, Connection c, const char* buf, RequestHead* head):
        """Send the request to its origin, if the lane understands it and a kept connection is there."""
        cdef Located* at = &self.hit.located
        cdef Way way
        cdef Note note
        cdef Passage p
        cdef Py_ssize_t asking
        cdef Member server
        cdef object since = None
        cdef object home = None
        cdef bytes word
        cdef Fill fill = None
        cdef bint won = False
        cdef uint64_t h[2]
        cdef int64_t now
        cdef _wire.Connection conn
        if not self.enabled or at.step == AT_NOTHING or self.hit.routes is not self.table:
            return False
        if head.present & ((1ULL << _core.F_EXPECT) | (1ULL << _core.F_UPGRADE)):
            return False
        way = self.ways[at.route]
        now = self.clock.read()
        p = Passage.__new__(Passage)
        p.way = way
        if way.passes:
            p.reason = ROUTE_OFF
        elif at.passed:
            if not way.bypasses:
                return False
            p.reason = BYPASS
        elif (not way.fills or at.step != AT_KEY or head.present & CONDITIONAL
                or not seek(self, p, buf, head, at, h, now)):
            return False
        note = c.note
        if note is None or note.epoch != self.epoch or note.secure != at.secure or note.edge != at.edge:
            note = c.note = Note.__new__(Note)
            note.epoch, note.secure, note.edge = self.epoch, at.secure, at.edge
            note.trusted = at.edge or self.site.trusts(c.address)
        asking = self._request(c, note, way, buf, head, at, p.encoding, p.question)
        if asking == 0:
            return False
        if way.shields is not None:
            scheme, host, target = _asked_of_shields(at)
            home = place_of(scheme, host, target)
            kept = way.shields.kept(home)
            if kept is None:
                return False
            server, conn = kept
            word = way.shields.say(scheme, "GET" if head.method_id == M_GET else "HEAD", host, target).encode("latin-1")
            asking = _with_word(self.space, asking, word)
        elif way.keyed:
            home = self._home(at, p)
            kept = way.upstream.kept_for(home)
            if kept is None:
                return False
            server, conn = kept
        elif (conn := way.upstream.take_plain()) is not None:
            server = way.upstream.only
        else:
            kept = way.upstream.kept()
            if kept is None:
                return False
            server, conn = kept
        if p.kind == MISSED:
            fill = self.memory.begin(p.key, None, h[0], &won)
            if not won or (not self.memory.alone() and self.memory.find_hashed(
                    h[0], h[1], PyBytes_AS_STRING(p.key), PyBytes_GET_SIZE(p.key)) != NULL):
                # another worker is at it, or has stored it since we looked
                if won:
                    fill.abort("answered")
                conn.give_back()
                return False
        elif p.kind == ALONE:
            since = self.site.departure(p.key)
        p.lane = self
        p.client = c
        p.origin = conn
        p.for_head = head.method_id == M_HEAD
        p.secure = at.secure
        p.home = home
        p.authorized = (head.present >> F_AUTHORIZATION) & 1
        p.trusted = note.trusted
        p.fill = fill
        p.since = since
        p.address = c.address
        p.asked = server
        p.head = PyBytes_FromStringAndSize(buf, head.length)
        p.query = None if at.query_len < 0 else PyBytes_FromStringAndSize(at.query, at.query_len)
        line_of(&p.line, PyBytes_AS_STRING(p.head), head)
        p.request_time = p.line.time = now
        if fill is not None:
            self.flights[p.key] = p
        self.active += 1
        c._busy(head)
        c.turn = p
        conn.ask(p, self.space, asking, p.for_head)
        p.left_at = conn.asked_at
        return True

    cdef uint64_t _home(self, Located* at, Passage p) noexcept:
        """What chooses a server where that goes by the key: the hash of what its origin is asked for (`Site.place`)."""
        cdef char* key = self.space + ROOM // 2
        cdef size_t n
        cdef uint64_t h[2]
        if p.kind == PASSED:
            n = write_key(at.secure, at.authority, at.authority_len, at.path, at.path_len, at.query, at.query_len, key)
        else:
            key, n = PyBytes_AS_STRING(p.primary), PyBytes_GET_SIZE(p.primary)
        _core.siphash128(<const uint8_t*>PyBytes_AS_STRING(PLACES), key, n, h)
        return h[0]

    cdef bint _behind(self, char* key, size_t n) noexcept:
        """Whether parts or slices lie under this key, which has room behind it."""
        return self.memory.has_asides() and (self._lies(key, n, self.parts) or self._lies(key, n, self.slices))

    cdef bint _lies(self, char* key, size_t n, bytes suffix) noexcept:
        memcpy(key + n, PyBytes_AS_STRING(suffix), PyBytes_GET_SIZE(suffix))
        return self.memory.find(key, n + PyBytes_GET_SIZE(suffix)) != NULL

    cdef bint has_behind(self, bytes key) noexcept:
        """The same of a key that has no such room."""
        cdef char room[4096 + 64]
        cdef size_t n = PyBytes_GET_SIZE(key)
        if n + max(PyBytes_GET_SIZE(self.parts), PyBytes_GET_SIZE(self.slices)) > sizeof(room):
            return True
        memcpy(room, PyBytes_AS_STRING(key), n)
        return self._behind(room, n)

    cdef bint _on_disk(self, bytes key) except -1:
        """Whether the response itself, its parts or its slices are there: the exchange brings them back."""
        cdef object disk = self.disk
        return disk.has(key) or disk.has(key + self.parts) or disk.has(key + self.slices)

    cdef Py_ssize_t _request(self, Connection c, Note note, Way way, const char* buf, RequestHead* head,
                             Located* at, bytes encoding, bytes question) except -1:
        """Write the request's head for the origin into `space`; its length, 0: not for the lane. `encoding`: the
        Accept-Encoding that it gets; `question`: a line that asks about stored variants; either may be None."""
        cdef char* p = self.space
        cdef FieldSpan* f
        cdef uint32_t i
        cdef int treatment
        cdef list continued = None
        cdef bytes authority = None
        p = _core.put_bytes(p, b"GET " if head.method_id == M_GET else b"HEAD ", 4 + (head.method_id != M_GET))
        p = _core.put_bytes(p, at.path, at.path_len)
        if at.query_len >= 0:
            p[0] = b"?"
            p = _core.put_bytes(p + 1, at.query, at.query_len)
        p = _core.put_bytes(p, b" HTTP/1.1\r\nHost: ", 17)
        if way.host is None:
            p = _core.put_bytes(p, at.authority, at.authority_len)
        else:
            p = _put(p, way.host)
        p = _core.put_bytes(p, b"\r\n", 2)
        for i in range(head.nfields):
            f = &head.fields[i]
            if f.id == F_ACCEPT_ENCODING and encoding is not None:
                continue
            if f.id == F_CONNECTION and not _plain_connection(buf, f):
                return 0
            treatment = way.treatment(buf, f, note.trusted)
            if treatment == 0:
                p = _line(p, buf, f)
            elif treatment == 2:
                if continued is None:
                    continued = []
                continued += _lines(buf, f, 1)
        if encoding is not None and way.copies(F_ACCEPT_ENCODING, note.trusted):
            p = _core.put_field(p, b"Accept-Encoding", 15, PyBytes_AS_STRING(encoding), PyBytes_GET_SIZE(encoding))
        if question is not None and way.copies(F_IF_NONE_MATCH, note.trusted):
            if PyBytes_GET_SIZE(question) > LINE:
                return 0
            p = _put(p, question)
        if continued is None and note.way is way and _same(note.authority, at):
            p = _put(p, note.tail)
            return p - self.space
        authority = PyBytes_FromStringAndSize(at.authority, at.authority_len)
        tail = filling.request_tail(way.edits, self.site.config.node.name, bool(at.secure), authority, c.address,
                                    note.trusted, continued or [])
        if tail is None:
            return 0
        if continued is None:
            note.way, note.authority, note.tail = way, authority, tail
        elif len(tail) > ROOM - WORD - (p - self.space):
            return 0
        p = _put(p, tail)
        return p - self.space

    cdef void left(self, object turn):
        (<Passage>turn).client_left()

    cdef void room(self, object turn):
        (<Passage>turn).client_reads()

    cdef double pace(self, object turn):
        return (<Passage>turn).pace()

    cdef bint loosen(self, object turn):
        return (<Passage>turn).loosen()

    cdef bytes unstored_line(self, int status, str reason, bint varies):
        line = self.unstored.get((status, reason, varies))
        if line is None:
            line = self.unstored[status, reason, varies] = filling.unstored_status(self.node, status, reason, varies)
        return line


cdef inline bint _same(bytes authority, Located* at) noexcept:
    return (<size_t>PyBytes_GET_SIZE(authority) == at.authority_len
            and memcmp(PyBytes_AS_STRING(authority), at.authority, at.authority_len) == 0)


cdef tuple _asked_of_shields(Located* at):
    """Scheme, host and target: what decides which shield a request belongs to, and what its word is for."""
    cdef bytes target = PyBytes_FromStringAndSize(at.path, at.path_len)
    if at.query_len >= 0:
        target += b"?" + PyBytes_FromStringAndSize(at.query, at.query_len)
    return ("https" if at.secure else "http", at.authority[:at.authority_len].decode("latin-1"),
            target.decode("latin-1"))


cdef Py_ssize_t _with_word(char* space, Py_ssize_t n, bytes word) noexcept:
    """The request's head of this length, with a word as its last field."""
    cdef char* p = _core.put_bytes(space + n - 2, b"CDN-Edge: ", 10)
    p = _put(p, word)
    return _core.put_bytes(p, b"\r\n\r\n", 4) - space
