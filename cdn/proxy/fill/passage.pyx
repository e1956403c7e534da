# Part of cdn/proxy/_fill.pyx: one exchange, from the request that has left to the end of the answer.
#
# It hears its origin as a Sink and its client as the front's turn. A miss outlives its client, and its answer outlives
# its origin: whichever ends first is None from then on. What becomes of a response says verdict.pyx; what is written to
# the client, answering.pyx; how others board it and how the general lane goes on with it, parting.pyx.


@cython.final
cdef class Passage(Sink):
    cdef FillLane lane
    cdef Way way
    cdef Connection client      # None: it has left, has its answer, or was handed over
    cdef _wire.Connection origin            # None: it has told everything
    # What is so or not is a byte each: an object of up to 512 bytes is Python's own allocator's, a longer one malloc's.
    cdef uint8_t kind
    cdef uint8_t for_head, secure, authorized, trusted
    cdef uint8_t answered       # the response's head was heard
    cdef uint8_t chunked        # the client gets chunks
    cdef uint8_t closed         # and has had the last of them
    cdef uint8_t stored         # it goes into the store
    cdef uint8_t whole          # in one step, since all of it is here with its head
    cdef uint8_t ended          # all of it is here
    cdef uint8_t aged
    cdef bytes primary          # of a miss, the key of its URL,
    cdef bytes door             # that under which others find it before its response is there,
    cdef bytes key              # and that of what is stored: the same, or a variant's
    cdef tuple specs            # of a further variant, by what its URL's responses vary; else None
    cdef list entries           # those of them that may answer it, too (`asking.about`),
    cdef bytes question         # and the line that asks its origin about them; None where none has a tag
    cdef bytes encoding         # of a miss on a route with codings: the Accept-Encoding that its origin is asked with
    cdef bytes query
    cdef Fill fill              # of MISSED: what others read from; None once nothing is stored
    cdef Entry kept             # what was stored, while its client is behind,
    cdef Loose loose            # and what finds that again, once it is not to be held
    cdef object since           # of ALONE: when it left
    cdef object shared          # the flight that others boarded, or None
    cdef list interims
    cdef str address
    cdef Member asked           # the server (`tier.own.OwnServer`)
    cdef object home            # what it was chosen by where that is the place, or key, of what was asked
    cdef bytes head             # the request's, as received; `line` points into it
    cdef Line line
    cdef str reason             # why it is not stored
    cdef double left_at         # when the request left, s of loop time
    cdef int64_t request_time, response_time            # ms of node time
    cdef uint64_t most          # body bytes that are stored here
    cdef object drafted
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
        if framing == BY_CLOSE or (self.kind >= MISSED and (
                head.status == 206 or head.status == 304 or head.status == 412 or head.status == 416)):
            return give(self, conn, base, head, framing)
        for i in range(head.nfields):
            if head.fields[i].id == F_CONNECTION and not _plain_connection(base, &head.fields[i]):
                return give(self, conn, base, head, framing)
        shape = self.way.shape(base, head, self.lane.space)
        if shape is None:
            return give(self, conn, base, head, framing)
        if self.kind == PASSED:
            return relay(self, shape, base, head, framing,
                         self.way.off_status if self.reason is ROUTE_OFF else self.way.bypass_status)
        if self.kind == TOLD:
            if self.way.codings and not shape.as_it_came(self, base, head):
                return tell(self, base, head, self.lane.unstored_line(head.status, METHOD, self.specs is not None))
            return relay(self, shape, base, head, framing,
                         self.lane.unstored_line(head.status, METHOD, self.specs is not None))
        return judge(self, conn, shape, base, head, framing)

    cdef int _worked(self, int status) except -1:
        """The response is ours: its server has answered."""
        return self.asked.answered(self.line.first_byte_us / 1000.0, status)

    cdef int on_data(self, const char* data, Py_ssize_t n) except -1:
        cdef bint level = self.sent == self.arrived
        self.way.received += n
        self.arrived += n
        if self.stored and not self.whole and not self._store(data, n):
            return 0
        if self.client is None:
            return 0
        if not self.stored or (level and not self.client.paused):
            send_out(self, data, n, self.origin.at_end)
            if self.origin is not None and self.client is not None and self.client.paused and not self.stored:
                self.origin.pause()
        return 0

    cdef bint _store(self, const char* data, Py_ssize_t n) except -1:
        """False: it is longer than what is stored here, or the store has no room for it, and others go on with it."""
        if self.arrived <= self.most and self.fill.write(PyMemoryView_FromMemory(<char*>data, n, PyBUF_READ)):
            return True
        carry_on(self, data, n)
        return False

    cdef int on_told(self) except -1:
        if self.lane.held:
            send_out(self, NULL, 0, False)
        return 0

    cdef int on_end(self, bint whole) except -1:
        self.origin = None
        self.ended = True
        if self.stored:
            if self.whole or self.fill.commit() is not None:
                self._committed()
            self._landed()
        if self.lane.held:
            send_out(self, NULL, 0, False)
        if self.client is not None and self.stored and self.sent < self.arrived:
            self.kept = self.fill.entry
        if self.client is not None and self.sent == self.arrived:
            self._finish()
        elif self.client is None:
            self._rest()
        return 0

    cdef int _committed(self) except -1:
        """What the response takes the place of: parts that came while it was on its way (as `Flight.committed`)."""
        cdef Memory memory = self.lane.memory
        # of a disk they may come although memory has nothing
        if self.lane.disk is not None or self.lane.has_behind(self.key):
            stored_parts.drop(memory, self.primary, self.key)
            stored_slices.drop(memory, self.key)
        if self.key is not self.primary and (
                self.lane.disk is not None or self.lane.has_behind(self.primary)):
            stored_parts.drop(memory, self.primary, self.primary)
            stored_slices.drop(memory, self.primary)
        return 0

    cdef int on_fail(self, object error) except -1:
        cdef Connection client = self.client
        cdef bint silent = not self.answered or self.lane.held != 0     # nothing has left for the client
        self.origin = None
        self.lane.held = 0
        if not isinstance(error, OriginError):
            # A fault of ours, met while an answer was taken: told, and nobody is left waiting.
            self.lane.loop.call_exception_handler({"message": "an origin's answer was not taken", "exception": error})
            error = OriginError(Kind.MALFORMED, "its answer was not taken", server=self.asked.pool.server, received=True)
        if not self.answered:
            if error.kind is Kind.RESET and not error.received:
                # it had been closed on the other side while it was kept
                return restart(self, Attempt(self.left_at, None, self.asked))
            if error.kind is Kind.TOTAL_TIMEOUT:
                error = self._pool().late()
            self.asked.failed(error)
            attempt = self._again(error)
            if attempt is not None:
                return restart(self, attempt)
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
        if silent:
            forget(self)
            client.hand_over(self.head, self._began())
            handover.failed(self.lane.site, client.stream, error, self.primary)
            return 0
        if self.kind != MISSED or not self.stored:
            self.lane.site.report("origin", str(error))
        self._cut()
        return 0

    cdef object _again(self, object error):
        """What the general lane asks once more with, knowing that this server has failed; None: it does not."""
        if self.way.shields is not None:
            return self.way.shields.again(self.asked, error, self.left_at)
        return self.way.upstream.again(self.asked, error, self.left_at, self.home or 0)

    cdef object _pool(self):
        return self.way.upstream if self.way.shields is None else self.way.shields

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
            data = self._stored()
            if not data:
                self._cut()
                return 0
            send_out(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data),
                     self.ended and self.sent + PyBytes_GET_SIZE(data) == self.arrived)
        if self.client is not None and self.ended and self.sent == self.arrived:
            self._finish()
        return 0

    cdef bytes _stored(self):
        """What the client gets next, out of the store; None or nothing: it is gone."""
        cdef bytes data
        if self.loose is not None:
            data = self.loose.read(self.sent, PIECE, self.lane.clock.read())
            if data is None:
                self.client.front.census.cut_for_memory += 1
            return data
        return self.fill.read(self.sent, PIECE) if self.kept is None else self.kept.read(self.sent, PIECE)

    cdef double pace(self) except? -1:
        """Bytes a second, as far as what is stored is held for this client; -1: it is not."""
        if self.kept is None:
            return -1
        return self.sent * 1e6 / (microseconds() - self._began() + 1)

    cdef bint loosen(self) except -1:
        """Hold nothing of what is stored. False: it would not be found again."""
        cdef Loose loose
        if self.kept is not None:
            loose = self.kept.loosen()
            if loose is None:
                return False
            self.loose = loose
            self.kept = None
            self.fill.release()
        return True

    # --- how it ends ---

    cdef int _finish(self) except -1:
        """The answer is whole."""
        cdef Connection client = self.client
        if self.chunked and not self.closed:
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
            self.kept = None
            self.loose = None
            self.since = None
            self.shared = None
            self.asked = None
            self.drafted = None
            self.entries = None
        return 0

    cdef int _landed(self) except -1:
        self._leave(self.door)
        if self.key is not self.door:
            self._leave(self.key)
        return 0

    cdef int _leave(self, bytes key) except -1:
        cdef dict flights = self.lane.flights
        cdef object mine = flights.pop(key, None)
        if mine is not None and mine is not self and mine is not self.shared:
            flights[key] = mine         # somebody else's by now
        return 0

    cdef int64_t _began(self) noexcept:
        """The same as `left_at` in µs."""
        return <int64_t>(self.left_at * 1000000)

    cdef int _log(self) except -1:
        """One line and the counters, when the client has its answer or will not get it."""
        cdef FillLane lane = self.lane
        cdef int64_t micros = microseconds() - self._began()
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
            text = <bytes>REASON_TEXTS[self.reason]
            self.line.no_store = PyBytes_AS_STRING(text)
        text = self.asked.pool.text
        self.line.origin = Text(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        if self.key is not None:
            text = self.key if self.stored else self.primary
            self.line.key = Text(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        self.line.bytes_sent = self.sent
        self.line.micros = micros
        lane.log.add(self.address, &self.line)
        return 0

    def flight(self):
        """The flight that others board; made when the first of them asks."""
        return flight_of(self)
