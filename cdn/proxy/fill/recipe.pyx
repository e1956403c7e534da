# Part of cdn/proxy/_fill.pyx: a response head's treatment, remembered.
#
# A Shape is what follows from a head's field names alone; a Recipe what the rules said about a response with these
# names, this status and these deciding values (`rules.storing.DECIDING`). What a recipe then reads by itself are times:
# Date, Age and Last-Modified, from which birth and age come (RFC 9111 §4.2.3), and the entity-tag's place. Where one of
# them is not as plain as can be, the rules are asked again.


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Drafted:
    """A record before it is published, as `cdn.store.Draft`."""
    cdef readonly int status
    cdef readonly bytes head
    cdef readonly int status_line_len
    cdef readonly int64_t born
    cdef readonly int64_t fresh_until
    cdef readonly int64_t swr_until
    cdef readonly int64_t sie_until
    cdef readonly int64_t response_time
    cdef readonly int flags
    cdef readonly object stamp
    cdef readonly int64_t last_modified
    cdef readonly int etag_offset
    cdef readonly int etag_len
    cdef readonly uint64_t lines_304
    cdef readonly bytes meta

    cdef void record(self, Record* t) noexcept:
        """What a record says before its key, its head and its body are laid."""
        memset(t, 0, sizeof(Record))
        t.born, t.fresh_until = record_time(self.born), self.fresh_until
        t.swr_until, t.sie_until = record_time(self.swr_until), record_time(self.sie_until)
        t.response_time, t.last_modified = record_time(self.response_time), record_time(self.last_modified)
        t.lines_304, t.flags, t.status = self.lines_304, self.flags, self.status
        t.status_line_len, t.etag, t.etag_len = self.status_line_len, self.etag_offset, self.etag_len


cdef tuple DRAFTED = (
    "status", "head", "status_line_len", "born", "fresh_until", "swr_until", "sie_until", "response_time", "flags",
    "stamp", "last_modified", "etag_offset", "etag_len", "lines_304", "meta",
)

# Meta begins with its kind and, where the head is edited, that as received behind its length (`drafts.draft`); then comes
# what `rules.stored.encode_meta` gives. There are in it: a byte with a bit that says whether tags stand at the end, the date
# behind the response time (s) and the request delay (ms). A recipe that does not reproduce its example is not used, so
# these cannot silently be wrong.
cdef enum:
    META_SOURCE = 2
    META_DATE = 3
    META_DELAY = 7
    META_LEAST = 13
    META_EDITED = 5             # bytes before a received head
    MOST_DELAY = 0xffff
    MOST_BEHIND = 0x7fffffff


cdef class Shape:
    cdef bytes names            # what it is remembered by
    cdef uint32_t lines
    cdef uint64_t passed
    cdef bytes set_lines
    cdef bint dated
    cdef uint64_t deciding
    cdef uint64_t tags          # lines that name it
    cdef uint64_t hidden        # lines that are stored, and not shown
    cdef bint edited            # the shown head is another one than the received
    cdef bint grouped           # by groups of its origin, too
    cdef bint cooks             # recipes are possible
    cdef bint away
    cdef int date, age, etag, modified      # lines, -1: none
    cdef dict recipes
    cdef Recipe last            # the one that was wanted last
    cdef dict told              # on a route with codings: whether a HEAD's answer is shown as it came, by the same key

    cdef bint as_it_came(self, Passage passage, const char* base, ResponseHead* head) except -1:
        """Whether the answer to a HEAD needs no words about a coding that the answer to a GET would get."""
        cdef bint counted = _one_length(base, head)
        cdef char room[KEY]
        cdef Py_ssize_t n = self.key(base, head, passage.authorized, passage.encoding,
                                     not counted or head.content_length >= CODED_FROM, room)
        cdef bytes key = None if n < 0 else PyBytes_FromStringAndSize(room, n)
        cdef object known = None if key is None else self.told.get(key)
        if known is None:
            known = filling.as_it_came(passage.way.route, request_of(passage), response_of(base, head))
            if key is not None:
                if len(self.told) >= MOST_RECIPES:
                    self.told.clear()
                self.told[key] = known
        return known

    cdef Recipe recipe(self, const char* key, Py_ssize_t n):
        """What is remembered by this key, or None."""
        cdef Recipe found = self.last
        if found is None or not _is(found.key, key, n):
            found = self.recipes.get(PyBytes_FromStringAndSize(key, n))
            if found is not None:
                self.last = found
        return found

    cdef int remember(self, const char* key, Py_ssize_t n, Recipe recipe) except -1:
        if len(self.recipes) >= MOST_RECIPES:
            self.recipes.clear()
        recipe.key = PyBytes_FromStringAndSize(key, n)
        self.recipes[recipe.key] = recipe
        return 0

    cdef Py_ssize_t key(self, const char* base, ResponseHead* head, bint authorized, bytes encoding, bint long_enough,
                        char* key) noexcept:
        """Write what a recipe is remembered by, KEY bytes at most; its length, -1: too long. On a route with codings also the
        `encoding` that was asked for, and whether it is `long_enough` for one."""
        cdef char* p = key
        cdef uint32_t i
        cdef FieldSpan* f
        p[0] = <char>(head.status & 0xff)
        p[1] = <char>(head.status >> 8)
        p[2] = <char>(head.minor | (2 if authorized else 0))
        p += 3
        if encoding is not None:
            if PyBytes_GET_SIZE(encoding) + 2 > KEY // 2:
                return -1
            p[0] = b"l" if long_enough else b"s"
            p = _put(p + 1, encoding)
            p[0] = b"\n"
            p += 1
        for i in range(self.lines):
            if (self.deciding >> i) & 1:
                f = &head.fields[i]
                if f.value_len + 1 > KEY - (p - key):
                    return -1
                memcpy(p, base + f.value, f.value_len)
                p += f.value_len
                p[0] = b"\n"
                p += 1
        return p - key


cdef class Recipe:
    cdef bytes key              # what it is remembered by
    cdef str reason             # why it is not stored, or None
    cdef bint of_request
    cdef bint away              # stored by the general lane only
    cdef uint64_t keep          # lines that are stored
    cdef uint64_t lines_304
    cdef int flags
    cdef int64_t fresh, swr, sie            # ms from birth
    cdef bytes meta             # the rules' part of it, but for the tags
    cdef tuple vary             # the fields it varies by
    cdef bytes names            # as a marker lists them; None: by none

    cdef Drafted cook(self, Shape shape, const char* base, ResponseHead* head, int64_t request_time,
                      int64_t response_time, bytes tags, char* room):
        """The record of a response with these tags; None: ask the rules."""
        cdef Drafted d
        cdef FieldSpan* f
        cdef int64_t now = response_time // 1000, date = now, age = 0, modified = INT64_MIN, delay, apparent
        cdef uint32_t i
        cdef char* p = room
        cdef char* meta
        cdef int etag = 0, etag_len = 0
        cdef uint32_t length
        cdef Py_ssize_t lead
        if shape.date >= 0:
            f = &head.fields[shape.date]
            date = parse_http_date(base + f.value, f.value_len, now)
            if date == INT64_MIN:
                return None
        if shape.age >= 0:
            f = &head.fields[shape.age]
            if f.value_len == 0 or f.value_len > 9:
                return None
            for i in range(f.value_len):
                if not b"0" <= base[f.value + i] <= b"9":
                    return None
                age = age * 10 + (base[f.value + i] - 48)
        if shape.modified >= 0:
            f = &head.fields[shape.modified]
            modified = parse_http_date(base + f.value, f.value_len, now)
            if modified == INT64_MIN:
                return None
        if shape.etag >= 0 and head.fields[shape.etag].value_len == 0:
            return None
        delay = response_time - request_time if response_time > request_time else 0
        apparent = (now - date) * 1000 if now > date else 0
        age = age * 1000 + delay
        d = Drafted.__new__(Drafted)
        d.born = response_time - (apparent if apparent > age else age)
        d.fresh_until = d.born + self.fresh
        if shape.etag < 0 and modified == INT64_MIN and d.fresh_until <= response_time:
            return None         # it may be good for nothing
        d.swr_until = d.born + self.swr
        d.sie_until = d.born + self.sie
        d.response_time = response_time
        d.status = head.status
        d.flags = self.flags
        d.lines_304 = self.lines_304
        d.last_modified = date if modified == INT64_MIN else modified
        p = _status_line(p, base, head)
        d.status_line_len = p - room
        for i in range(shape.lines):
            if (self.keep >> i) & 1 and not (shape.hidden >> i) & 1:
                f = &head.fields[i]
                if <int>i == shape.etag:
                    etag = (p - room) + f.name_len + 2
                    etag_len = f.value_len
                p = _line(p, base, f)
        if shape.date < 0:
            p = _date_line(p, now)
        p = _put(p, shape.set_lines)
        d.etag_offset = etag
        d.etag_len = etag_len
        d.head = PyBytes_FromStringAndSize(room, p - room)
        lead = 1
        if shape.edited:
            p = self.received(shape, base, head, now, room + META_EDITED)
            length = p - room - META_EDITED
            room[0] = 1
            memcpy(room + 1, &length, 4)
            lead = p - room
        else:
            room[0] = 0
        d.meta = PyBytes_FromStringAndSize(NULL, lead + PyBytes_GET_SIZE(self.meta) + PyBytes_GET_SIZE(tags))
        meta = PyBytes_AS_STRING(d.meta)
        memcpy(meta, room, lead)
        meta += lead
        _put(_put(meta, self.meta), tags)
        if PyBytes_GET_SIZE(tags):
            meta[META_SOURCE] = <char>(<uint8_t>meta[META_SOURCE] | META_TAGGED)
        if delay > MOST_DELAY or date - now > MOST_BEHIND or now - date > MOST_BEHIND:
            return None         # meta is wider then
        date -= now
        for i in range(4):
            meta[META_DATE + i] = <char>((<uint64_t>date >> (8 * i)) & 0xff)
        for i in range(2):
            meta[META_DELAY + i] = <char>((<uint64_t>delay >> (8 * i)) & 0xff)
        return d


    cdef char* received(self, Shape shape, const char* base, ResponseHead* head, int64_t now, char* p) noexcept:
        """The head as it was received, in the form that is stored."""
        cdef uint32_t i
        p = _status_line(p, base, head)
        for i in range(shape.lines):
            if (self.keep >> i) & 1:
                p = _line(p, base, &head.fields[i])
        return _date_line(p, now) if shape.date < 0 else p


cdef char* _status_line(char* p, const char* base, ResponseHead* head) noexcept nogil:
    memcpy(p, b"HTTP/1.1 ", 9)
    p = put_uint(p + 9, head.status)
    p[0] = b" "
    p = _core.put_bytes(p + 1, base + head.reason, head.reason_len)
    memcpy(p, b"\r\n", 2)
    return p + 2


cdef char* _date_line(char* p, int64_t seconds) noexcept nogil:
    memcpy(p, b"Date: ", 6)
    p = put_http_date(p + 6, seconds)
    memcpy(p, b"\r\n", 2)
    return p + 2


cdef Recipe _recipe(object judged, Shape shape, const char* base, ResponseHead* head, int64_t request_time,
                    int64_t response_time, char* room):
    """What the rules' word on this response means for others like it; None: nothing."""
    cdef Recipe r
    cdef object draft = judged.draft
    cdef bytes stored
    cdef char* p
    cdef Py_ssize_t at, n
    cdef uint32_t i
    if not judged.settled or not shape.cooks:
        return None
    r = Recipe.__new__(Recipe)
    r.reason = judged.reason
    r.of_request = judged.of_request
    r.away = judged.away
    r.vary, r.names = judged.vary, judged.names
    if r.reason is not None or r.away:
        return r
    r.fresh, r.swr, r.sie = judged.stale
    r.flags = draft.flags
    r.lines_304 = draft.lines_304
    r.meta = draft.meta[:len(draft.meta) - len(judged.tags)]
    stored = draft.head
    if shape.edited:
        at = META_EDITED + int.from_bytes(r.meta[1:META_EDITED], "little")
        stored = r.meta[META_EDITED:at]
        r.meta = r.meta[at:]
    else:
        r.meta = r.meta[1:]
    if len(r.meta) < META_LEAST or r.meta[0] != META_VERSION:
        return None
    if judged.tags:
        r.meta = r.meta[:META_SOURCE] + bytes([r.meta[META_SOURCE] & ~META_TAGGED]) + r.meta[META_SOURCE + 1:]
    # which lines were kept: the stored ones are some of those received, in their order
    at = draft.status_line_len
    for i in range(shape.lines):
        p = _line(room, base, &head.fields[i])
        n = p - room
        if stored[at:at + n] == room[:n]:
            r.keep |= 1ULL << i
            at += n
    made = r.cook(shape, base, head, request_time, response_time, judged.tags, room)
    if made is None or any([getattr(made, name) != getattr(draft, name) for name in DRAFTED]):
        return None
    return r
