# Part of cdn/proxy/_fill.pyx: one exchange, from the request that has left to the end of the answer.
#
# It hears its origin as a Sink and its client as the front's turn. A miss outlives its client, and its answer outlives
# its origin: whichever ends first is None from then on.


@cython.final
@cython.freelist(64)
cdef class Passage(Sink):
    cdef FillLane lane
    cdef Way way
    cdef Connection client      # None: it has left, has its answer, or was handed over
    cdef _wire.Connection origin            # None: it has told everything
    cdef int kind
    cdef bint for_head, secure, authorized, trusted
    cdef bytes key              # of a miss
    cdef bytes query
    cdef Fill fill              # of MISSED: what others read from; None once nothing is stored
    cdef object since           # of ALONE: when it left
    cdef object shared          # the flight that others boarded, or None
    cdef list interims
    cdef str address
    cdef str server             # that was asked: its name,
    cdef bytes server_text      # for the log,
    cdef Member asked           # and itself (`tier.own.OwnServer`)
    cdef bytes head             # the request's, as received; `line` points into it
    cdef Line line
    cdef str reason             # why it is not stored
    cdef int64_t began          # µs
    cdef int64_t request_time, response_time            # ms of node time
    cdef bint answered          # the response's head was heard
    cdef bint chunked           # the client gets chunks
    cdef bint stored            # it goes into the store
    cdef bint whole             # in one step, since all of it is here with its head
    cdef bint spilled           # the rest of it does not
    cdef bint ended             # all of it is here
    cdef object drafted
    cdef bint aged
    cdef uint64_t arrived       # body bytes
    cdef uint64_t sent          # of those, to the client

    # --- what the origin says ---

    cdef int on_interim(self, int status, object fields) except -1:
        cdef bytes head
        if self.client is not None:
            head = interim_head(status, fields)
            send_bytes(self.client, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        if self.shared is not None:
            self.shared.interims.hear(status, fields)
        elif self.kind == MISSED:
            if self.interims is None:
                self.interims = []
            self.interims.append((status, fields))
        return 0

    cdef int on_head(self, _wire.Connection conn, const char* base, ResponseHead* head, Framing framing) except -1:
        cdef Shape shape
        cdef uint32_t i
        self.answered = True
        self.response_time = self.lane.clock.read()
        self.line.first_byte_us = <int64_t>((conn.answered_at - conn.asked_at) * 1000000)
        self.way.requests += 1
        if framing == BY_CLOSE or (self.kind != PASSED and (
                head.status == 206 or head.status == 304 or head.status == 412 or head.status == 416)):
            return self._give(conn, base, head, framing)
        for i in range(head.nfields):
            if head.fields[i].id == F_CONNECTION and not _plain_connection(base, &head.fields[i]):
                return self._give(conn, base, head, framing)
        shape = self.way.shape(base, head, self.lane.space)
        if shape is None:
            return self._give(conn, base, head, framing)
        if self.kind == PASSED:
            self.reason = ROUTE_OFF
            return self._relay(shape, base, head, framing, self.way.pass_status)
        return self._judge(conn, shape, base, head, framing)

    cdef int _judge(self, _wire.Connection conn, Shape shape, const char* base, ResponseHead* head,
                    Framing framing) except -1:
        """May it be stored? As the rules said before of one like it, or as they say now."""
        cdef FillLane lane = self.lane
        cdef bytes key = None
        cdef Recipe recipe = None
        cdef object draft = None
        cdef str reason = None
        cdef bint away = False, of_request = False
        if shape.cooks:
            key = shape.key(base, head, self.authorized)
            recipe = shape.recipes.get(key)
        if recipe is not None:
            reason, away, of_request = recipe.reason, recipe.away, recipe.of_request
            if reason is None and not away:
                draft = recipe.cook(shape, base, head, self.request_time, self.response_time, lane.space)
        if draft is None and reason is None and not away:
            judged = filling.judge(self.way.route, self._request(), _response(base, head), self.request_time,
                                   self.response_time)
            reason, away, of_request, draft = judged.reason, judged.away, judged.of_request, judged.draft
            if key is not None and recipe is None:
                recipe = _recipe(judged, shape, base, head, self.request_time, self.response_time, lane.space)
                if recipe is not None:
                    if len(shape.recipes) >= MOST_RECIPES:
                        shape.recipes.clear()
                    shape.recipes[key] = recipe
        if reason is not None:
            self._not_stored(reason, of_request, base, head)
            return self._relay(shape, base, head, framing, lane.unstored_line(head.status, reason))
        if (away or shape.away or self.kind == ALONE or framing == BY_CHUNKS
                or (framing == BY_LENGTH and (<uint64_t>head.content_length > BODY
                                              or <uint64_t>head.content_length > lane.object_limit))):
            return self._give(conn, base, head, framing)
        if (recipe is not None and framing == BY_LENGTH and 0 < <uint64_t>head.content_length == conn.behind
                and self.shared is None and (self.client is None or not self.client.paused)
                and self._store_whole(draft, base + head.length, head.content_length)):
            self.whole = True
        elif not self.fill.start(draft, head.content_length if framing == BY_LENGTH else 0):
            return self._give(conn, base, head, framing)
        self.drafted = draft
        self.aged = shape.age >= 0
        self.stored = True
        if self.shared is not None:
            self._tell_flight(conn.server)
            handover.streaming(self.shared, draft, self.aged)
        return self._serve(draft, head, framing)

    cdef bint _store_whole(self, object draft, const char* body, uint64_t n) except -1:
        """Nobody follows it, and all of it is here: one step. False: as if there were more to come."""
        cdef Record t
        if type(draft) is not Drafted:
            return False
        (<Drafted>draft).record(&t)
        return self.fill.store_whole(draft, &t, (<Drafted>draft).head, (<Drafted>draft).meta, body, n)

    cdef int _not_stored(self, str reason, bint of_request, const char* base, ResponseHead* head) except -1:
        """Whoever waits goes on alone at once; for a while nobody waits for this key again."""
        self.reason = reason
        if not of_request:
            self.lane.site.predict(self.key, NoStoreReason(reason))
        if self.fill is not None:
            self.fill.abort(reason)
            if self.shared is not None:
                self._tell_flight(self.origin.server)
                handover.not_stored(self.shared, reason, _response(base, head))
            self._landed()
            self.fill = None
        if self.since is not None:
            self.since.abort("answered")
            self.since = None
        return 0

    cdef int _relay(self, Shape shape, const char* base, ResponseHead* head, Framing framing,
                    bytes status_line) except -1:
        """The head of a response that only this client gets."""
        cdef char* p = self.lane.space
        cdef uint32_t i
        self._worked(head.status)
        if self.client is None:
            return self._give_up()
        p = _status_line(p, base, head)
        for i in range(shape.lines):
            if (shape.passed >> i) & 1:
                p = _line(p, base, &head.fields[i])
        p = _put(p, shape.set_lines)
        if not shape.dated:
            p = _date_line(p, self.response_time // 1000)
        p = _put(p, self.lane.old_via if head.minor == 0 else self.lane.via)
        p = _put(p, status_line)
        if self.for_head:
            if head.content_length >= 0 and head.status != 204 and head.status != 304 and _one_length(base, head):
                p = _length(p, head.content_length)
        elif framing == BY_LENGTH:
            p = _length(p, head.content_length)
        elif framing == BY_CHUNKS:
            self.chunked = True
            p = _core.put_bytes(p, b"Transfer-Encoding: chunked\r\n", 28)
        return self._head_out(p, head.status)

    cdef int _serve(self, object draft, ResponseHead* head, Framing framing) except -1:
        """The head of a response that is being stored, as the general lane writes it (`answer._full`)."""
        cdef FillLane lane = self.lane
        cdef char* p = lane.space
        cdef int64_t now, ttl, born, until
        cdef bytes text
        self._worked(head.status)
        if self.client is None:
            return 0
        now = lane.clock.read()
        if type(draft) is Drafted:
            text, born, until = (<Drafted>draft).head, (<Drafted>draft).born, (<Drafted>draft).fresh_until
        else:
            text, born, until = draft.head, draft.born, draft.fresh_until
        p = _put(p, text)
        if framing == BY_LENGTH:
            p = _length(p, head.content_length)
        if self.aged:
            p = _core.put_bytes(p, b"Age: ", 5)
            p = put_uint(p, max(0, now - born) // 1000)
            p = _core.put_bytes(p, b"\r\n", 2)
        p = _put(p, lane.old_via if head.minor == 0 else lane.via)
        p = _put(p, lane.stored_before)
        ttl = until - now
        if ttl < 0:
            p[0] = b"-"
            p = put_uint(p + 1, (999 - ttl) // 1000)
        else:
            p = put_uint(p, ttl // 1000)
        p = _put(p, lane.stored_behind)
        return self._head_out(p, head.status)

    cdef int _worked(self, int status) except -1:
        """The response is ours: its server has answered."""
        return self.asked.answered(self.line.first_byte_us / 1000.0, status)

    cdef int _head_out(self, char* p, int status) except -1:
        """The head is written up to `p`: it leaves with what follows it in the same segment."""
        if self.client.last:
            p = _core.put_bytes(p, b"Connection: close\r\n", 19)
        p = _core.put_bytes(p, b"\r\n", 2)
        self.line.status = status
        self.lane.held = p - self.lane.space
        return 0

    cdef int on_data(self, const char* data, Py_ssize_t n) except -1:
        cdef bint level = self.sent == self.arrived
        self.way.received += n
        self.arrived += n
        if self.stored and not self.whole and not self._store(data, n):
            return 0
        if self.client is None:
            return 0
        if not self.stored or (level and not self.client.paused):
            self._out(data, n)
            if self.origin is not None and self.client is not None and self.client.paused and not self.stored:
                self.origin.pause()
        return 0

    cdef bint _store(self, const char* data, Py_ssize_t n) except -1:
        if not self.spilled:
            if self.fill.write(PyMemoryView_FromMemory(<char*>data, n, PyBUF_READ)):
                return True
            # No room in the store any more. There is no more of it than BODY, so that it can wait for its readers.
            self.fill.detach("no-space")
            self.flight()
            self.spilled = True
        handover.overflow(self.shared, PyBytes_FromStringAndSize(data, n))
        return True

    cdef int on_told(self) except -1:
        if self.lane.held:
            self._out(NULL, 0)
        return 0

    cdef int on_end(self, bint whole) except -1:
        self.origin = None
        self.ended = True
        if self.stored:
            if self.spilled:
                handover.overflow_ended(self.shared)
            elif self.whole or self.fill.commit() is not None:
                self._committed()
            self._landed()
        if self.lane.held:
            self._out(NULL, 0)
        if self.client is not None and self.sent == self.arrived:
            self._finish()
        elif self.client is None:
            self._rest()
        return 0

    cdef int _committed(self) except -1:
        """What the response takes the place of: parts that came while it was on its way (as `Flight.committed`)."""
        cdef object memory = self.lane.site.memory
        # of a disk they may come although memory has nothing
        if self.lane.site.disk is not None or self.lane.has_behind(self.key):
            stored_parts.drop(memory, self.key, self.key)
            stored_slices.drop(memory, self.key)
        return 0

    cdef int on_fail(self, object error) except -1:
        cdef Connection client = self.client
        self.origin = None
        self.lane.held = 0
        if not self.answered:
            if error.kind is Kind.RESET and not error.received:
                return self._restart()      # it had been closed on the other side while it was kept
            self.asked.failed(error)
            if self.way.upstream.again(self.asked, error, (microseconds() - self.began) / 1e6):
                return self._restart()
            self.way.requests += 1
        else:
            self.asked.failed(error)
        self.way.errors += 1
        if self.fill is not None:
            self.fill.abort("truncated")
            if self.shared is not None and not self.answered:
                handover.broken(self.shared, error)
            self._landed()
        if self.since is not None:
            self.since.abort("failed")
        if client is None:
            self._rest()
            return 0
        if not self.answered:
            self._forget()
            client.hand_over(self.head, self.began)
            handover.failed(self.lane.site, client.stream, error, self.key)
            return 0
        if self.kind != MISSED or not self.stored:
            self.lane.site.report("origin", str(error))
        self._cut()
        return 0

    # --- what the client does ---

    cdef int client_left(self) except -1:
        """It is gone: what only it wanted is given up; what others may want goes on."""
        self._log()
        self.client = None
        if self.lane.held:
            self.lane.held = 0
        if self.origin is not None and not (self.kind == MISSED and self.fill is not None):
            self._give_up()
        if self.origin is None:
            self._rest()
        return 0

    cdef int client_reads(self) except -1:
        cdef bytes data
        if not self.stored:
            if self.origin is not None:
                self.origin.resume_reading()
            return 0
        while self.sent < self.arrived and self.client is not None and not self.client.paused:
            if self.spilled and self.sent >= <uint64_t>self.fill.arrived:
                data = self.shared.overflow.read(self.sent, PIECE)
            else:
                data = self.fill.read(self.sent, PIECE)
            if not data:
                self._cut()
                return 0
            self._out(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if self.client is not None and self.ended and self.sent == self.arrived:
            self._finish()
        return 0

    cdef int _out(self, const char* data, size_t n) except -1:
        """Send a head that waits, and body bytes behind it."""
        cdef iovec pieces[4]
        cdef int count = 0
        cdef char size[20]
        if self.client is None:
            self.lane.held = 0
            return 0
        if self.lane.held:
            pieces[0].iov_base = self.lane.space
            pieces[0].iov_len = self.lane.held
            self.lane.held = 0
            count = 1
        if n:
            self.sent += n
            if self.chunked:
                pieces[count].iov_base = size
                pieces[count].iov_len = _hex(size, n)
                count += 1
            pieces[count].iov_base = <void*>data
            pieces[count].iov_len = n
            count += 1
            if self.chunked:
                pieces[count].iov_base = <void*><const char*>b"\r\n"
                pieces[count].iov_len = 2
                count += 1
        if count == 1:
            send_bytes(self.client, <const char*>pieces[0].iov_base, pieces[0].iov_len)
        elif count:
            send_pieces(self.client, pieces, count)
        return 0

    # --- how it ends ---

    cdef int _finish(self) except -1:
        """The answer is whole."""
        cdef Connection client = self.client
        if self.chunked:
            send_bytes(client, b"0\r\n\r\n", 5)
        self._log()
        self.client = None
        client.turn = None
        client._settle()
        self._rest()
        return 0

    cdef int _cut(self) except -1:
        """The client has to see that the answer is not whole."""
        cdef Connection client = self.client
        self._log()
        self.client = None
        client.turn = None
        client._abort()
        self._rest()
        return 0

    cdef int _give_up(self) except -1:
        """Nobody wants the response."""
        cdef _wire.Connection conn = self.origin
        self.origin = None
        if conn is not None:
            conn.abort()
        return 0

    cdef int _rest(self) except -1:
        """Let go of everything; twice does no harm."""
        if self.lane is not None and self.way is not None:
            self.lane.active -= 1
            self.way = None
            self.fill = None
            self.since = None
            self.shared = None
            self.asked = None
            self.drafted = None
        return 0

    cdef int _landed(self) except -1:
        cdef object flights = self.lane.site.flights
        cdef object mine = flights.get(self.key)
        if mine is not None and (mine is self or mine is self.shared):
            del flights[self.key]
        return 0

    cdef int _forget(self) except -1:
        """The client goes to another lane, with its own line in the log."""
        self.client.turn = None
        self.client = None
        self._rest()
        return 0

    cdef int _restart(self) except -1:
        """The origin had closed the connection before it saw the request: as if nothing had happened."""
        cdef Connection client = self.client
        cdef object shared = self.shared
        if self.since is not None:
            self.since.abort("restarted")
        if shared is not None:
            handover.restart(self.lane.site, shared)
        elif self.fill is not None:
            self._landed()
            self.fill.abort("restarted")
        if client is None:
            self._rest()
            return 0
        self.lane.handed_over += 1
        self._forget()
        client.front.exchange(client.hand_over(self.head, self.began))
        return 0

    cdef int _give(self, _wire.Connection conn, const char* base, ResponseHead* head, Framing framing) except -1:
        """Nothing was sent yet: the general lane goes on with the response in hand."""
        cdef Connection client = self.client
        cdef Sink stream = Stream(self.lane.loop)
        cdef object site = self.lane.site, flight = None
        self.origin = None
        conn.sink = stream
        stream.on_head(conn, base, head, framing)
        response = self.asked.response(stream, conn.server, 0.0)
        self.way.requests -= 1
        site.counters.origin(self.way.origin)["requests"] += 1
        self.lane.handed_over += 1
        if self.fill is not None:
            flight = self.flight()
            handover.fly_on(site, flight, response, self.request_time, self.response_time, client is not None)
        if client is None:
            if flight is None:
                response.abort()
            self._rest()
            return 0
        given = handover.Given(self.way.route, response, self.request_time, self.response_time, flight, self.since)
        self._forget()
        handover.exchange(site, client.hand_over(self.head, self.began), given)
        return 0

    cdef int _log(self) except -1:
        """One line and the counters, when the client has its answer or will not get it."""
        cdef FillLane lane = self.lane
        cdef int64_t micros = microseconds() - self.began
        cdef bytes text
        cdef int outcome = O_ERROR
        if self.line.status:
            outcome = O_PASS if self.kind == PASSED else O_MISS
            if self.reason is ROUTE_OFF:
                lane.passed += 1
            elif self.reason is not None:
                lane.reasons[self.reason] = lane.reasons.get(self.reason, 0) + 1
        lane.outcomes[outcome] += 1
        count(&lane.counts, self.line.status, self.sent, micros)
        if lane.log is None:
            return 0
        self.line.outcome = PyBytes_AS_STRING(<bytes>OUTCOME_TEXTS[outcome])
        if self.reason is not None and self.line.status:
            text = REASON_TEXTS[self.reason]
            self.line.no_store = PyBytes_AS_STRING(text)
        self.line.origin = Text(PyBytes_AS_STRING(self.server_text), PyBytes_GET_SIZE(self.server_text))
        if self.key is not None:
            self.line.key = Text(PyBytes_AS_STRING(self.key), PyBytes_GET_SIZE(self.key))
        self.line.bytes_sent = self.sent
        self.line.micros = micros
        lane.log.add(self.address, &self.line)
        return 0

    # --- others who want the same ---

    def flight(self):
        """The flight that others board; made when the first of them asks."""
        cdef object query = None if self.query is None else self.query.decode("latin-1")
        if self.shared is None:
            self.shared = handover.flight_of(self.lane.site, self.way.route, self.fill, self._request(), query,
                                             self.address, self.trusted)
            for status, fields in self.interims or ():
                self.shared.interims.hear(status, fields)
            if self.stored:
                self._tell_flight(self.server)
                handover.streaming(self.shared, self.drafted, self.aged)
        return self.shared

    cdef int _tell_flight(self, str server) except -1:
        self.shared.server = server
        self.shared.first_byte_us = self.line.first_byte_us
        return 0

    cdef object _request(self):
        """The request as a value."""
        cdef RequestHead head
        cdef size_t resume = 0
        cdef const char* buf = PyBytes_AS_STRING(self.head)
        _core.scan_request(buf, PyBytes_GET_SIZE(self.head), &resume, PyBytes_GET_SIZE(self.head), _core.MAX_FIELDS,
                           &head)
        return handover.request_head_of("HEAD" if self.for_head else "GET", buf[head.target:head.target + head.target_len],
                                        self.secure, _lines(buf, head.fields, head.nfields))


cdef object _response(const char* base, ResponseHead* head):
    return ResponseValue(head.status, Fields(_lines(base, head.fields, head.nfields)),
                         base[head.reason:head.reason + head.reason_len].decode("latin-1"), (1, head.minor))


cdef inline char* _length(char* p, int64_t n) noexcept nogil:
    p = put_uint(_core.put_bytes(p, b"Content-Length: ", 16), n)
    return _core.put_bytes(p, b"\r\n", 2)


cdef bint _one_length(const char* base, ResponseHead* head) noexcept nogil:
    """Whether Content-Length is one line of digits: what is repeated to a HEAD."""
    cdef uint32_t i, j, lines = 0
    for i in range(head.nfields):
        if head.fields[i].id == _core.F_CONTENT_LENGTH:
            lines += 1
            for j in range(head.fields[i].value_len):
                if not b"0" <= base[head.fields[i].value + j] <= b"9":
                    return False
    return lines == 1


cdef int _hex(char* dst, size_t n) noexcept nogil:
    """The size line of a chunk; returns its length."""
    cdef const char* digits = b"0123456789abcdef"
    cdef int shift = 60, length = 0
    while shift and not (n >> shift) & 15:
        shift -= 4
    while shift >= 0:
        dst[length] = digits[(n >> shift) & 15]
        length += 1
        shift -= 4
    dst[length] = b"\r"
    dst[length + 1] = b"\n"
    return length + 2
