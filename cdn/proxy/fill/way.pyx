# Part of cdn/proxy/_fill.pyx: one route as the lane sees it.


cdef class Way:
    cdef object route
    cdef bint passes            # `cache: off`
    cdef bint fills             # misses of it may be the lane's
    cdef bint bypasses          # so may what a rule of it passes
    cdef str origin
    cdef Choice upstream        # `tier.upstream.Upstream`; None where shields are asked,
    cdef bint keyed             # the key says which of its servers is asked
    cdef object shields         # which these are (`tier.shields.ShieldPool`), or None
    cdef bytes host             # for the origin, instead of the client's; or None
    cdef object edits           # of requests
    cdef tuple codings          # that responses get on their way into the store,
    cdef dict encodings         # and what an Accept-Encoding says about them
    cdef const char* coding     # as `CompiledRoute` has them
    cdef uint32_t coding_len
    cdef RouteTable table       # which keeps them
    cdef uint8_t known[2][IDS]  # treatment of request fields by FieldId; the second for trusted peers
    cdef tuple others           # the same by name, for those without an id
    cdef bytes off_status, bypass_status
    cdef dict shapes            # by the names of a head, each with a newline behind it
    cdef Shape last             # the one that was wanted last
    cdef uint64_t requests, errors, received

    def __cinit__(self, route, origin, site, str node, RouteTable table):
        cdef int trusted
        self.route = route
        self.origin = route.origin
        self.passes = route.cache is None
        self.fills = not self.passes
        self.codings = () if self.passes else route.compress
        self.encodings = {}
        self.table = table
        self.coding = table.compiled[<int>route.index].coding
        self.coding_len = table.compiled[<int>route.index].coding_len
        self.bypasses = not self.passes
        if not self.passes and route.shield and site.shields is not None:
            self.shields = site.shields
            takes = True
        else:
            takes = origin is not None and filling.takes(route, origin)
            self.edits = route.headers.request
        if not takes:
            self.passes = self.fills = self.bypasses = False
            return
        if self.shields is None:
            self.upstream = site.origins.upstream(self.origin)
            self.keyed = origin.balance == "hash"
            self.host = None if origin.host is None else origin.host.encode("latin-1")
        for trusted in range(2):
            for name, which in FIELD_IDS.items():
                self.known[trusted][<int>which] = filling.request_treatment(name.decode("ascii"), self.edits, bool(trusted))
        self.others = ({}, {})
        self.off_status = filling.pass_status(node, ROUTE_OFF)
        self.bypass_status = filling.pass_status(node, BYPASS)
        self.shapes = {}

    cdef int treatment(self, const char* buf, const FieldSpan* f, bint trusted) except -1:
        cdef dict others
        cdef bytes name
        if f.id != F_OTHER:
            return self.known[trusted][f.id]
        others = self.others[1 if trusted else 0]
        name = PyBytes_FromStringAndSize(buf + f.name, f.name_len)
        known = others.get(name)
        if known is None:
            if len(others) >= MOST_NAMES:
                others.clear()
            known = others[name] = filling.request_treatment(name.decode("latin-1").lower(), self.edits, trusted)
        return known

    cdef bint copies(self, int which, bint trusted) noexcept:
        """Whether a field that is sent along goes on, too, as the client's would."""
        return self.known[trusted][which] == 0

    cdef bytes encoding(self, const char* buf, RequestHead* head):
        """What the origin of a route with codings is asked with instead of the client's Accept-Encoding."""
        cdef bytes key = None, normal
        cdef uint32_t i
        for i in range(head.nfields):
            if head.fields[i].id == F_ACCEPT_ENCODING:
                one = PyBytes_FromStringAndSize(buf + head.fields[i].value, head.fields[i].value_len)
                key = one if key is None else key + b", " + one
        normal = self.encodings.get(key)
        if normal is None:
            if len(self.encodings) >= MOST_NAMES:
                self.encodings.clear()
            normal = self.encodings[key] = filling.encoding(key, self.codings)
        return normal

    cdef Shape shape(self, const char* base, ResponseHead* head, char* room):
        """None: more lines than the lane looks at."""
        cdef char* p = room
        cdef uint32_t i
        cdef FieldSpan* f
        cdef Shape shape = self.last
        cdef bytes names
        if head.nfields > MOST_LINES:
            return None
        for i in range(head.nfields):
            f = &head.fields[i]
            memcpy(p, base + f.name, f.name_len)
            p += f.name_len
            p[0] = b"\n"
            p += 1
        if shape is not None and _is(shape.names, room, p - room):
            return shape
        names = PyBytes_FromStringAndSize(room, p - room)
        shape = self.shapes.get(names)
        if shape is None:
            if len(self.shapes) >= MOST_FORMS:
                self.shapes.clear()
            shape = self.shapes[names] = _shape(base, head, self.route)
            shape.names = names
        self.last = shape
        return shape


cdef Shape _shape(const char* base, ResponseHead* head, object route):
    cdef Shape s = Shape.__new__(Shape)
    cdef uint32_t i
    form = filling.form_of([name for name, _ in _lines(base, head.fields, head.nfields)], route)
    s.lines = head.nfields
    s.passed = form.passed
    s.set_lines = form.set_lines
    s.dated = form.dated
    s.deciding = form.deciding
    s.tags = form.tags
    s.grouped = form.grouped
    s.hidden = form.edited
    s.edited = form.edited != 0 or len(s.set_lines) != 0
    s.cooks = form.recipes
    s.away = form.away
    s.date = s.age = s.etag = s.modified = -1
    for i in range(head.nfields):
        if head.fields[i].id == F_DATE:
            s.date = i
        elif head.fields[i].id == F_AGE:
            s.age = i
        elif head.fields[i].id == F_ETAG:
            s.etag = i
        elif head.fields[i].id == F_LAST_MODIFIED:
            s.modified = i
    s.recipes = {}
    s.told = {}
    return s


cdef class Note:
    """What the lane remembers of a client's connection: the lines that it last wrote for it."""
    cdef uint64_t epoch
    cdef bint trusted, secure, edge
    cdef Way way
    cdef bytes authority
    cdef bytes tail
