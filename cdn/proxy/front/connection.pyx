# Part of cdn/proxy/_front.pyx: one client connection, from bytes to requests, whose turn it is, and how it ends.
#
# Must not know how a body is framed (`body`), what a deadline means (`pace`), or how bytes leave (`sending`).


cdef class Connection:
    """An asyncio protocol on uvloop. Every method that can end the connection leaves it in CLOSED or LINGERING."""

    def __cinit__(self, Front front):
        self.front = front
        self.fd = -1
        self.state = READING

    # --- the transport's calls ---

    def connection_made(self, transport):
        """Of uvloop's transport, over TLS: the census has the connection already. `Entrance` does this for plain ones."""
        self.transport = transport
        self.address = transport.get_extra_info("peername")[0]
        self.front.connections.add(self)
        transport.set_write_buffer_limits(TLS_WRITE_HIGH)
        self._due(monotonic() + (FRESH if self.front.draining else self.front.idle_timeout))

    def connection_lost(self, exc):
        cdef ClientStream stream = self.stream
        self.state = CLOSED
        self.fd = -1
        self.send = None
        self.pending = None
        self.front.wheel.forget(self)
        if self in self.front.connections:
            self.front.connections.discard(self)
            self.front.census.leave(self.address)
        if self.turn is not None:
            turn, self.turn = self.turn, None
            self.front.second.left(turn)
        if stream is not None:
            self.stream = None
            stream.gone = True
            if stream.tunnel is not None:
                stream.tunnel(None)
            stream._fail(ConnectionResetError("the client has left"))
            stream.connection = None
            if stream.task is not None:
                stream.task.cancel()
        self.transport = None

    def eof_received(self):
        self.ended = True
        if self.state == TUNNEL:
            self.stream.tunnel(b"")
            return not self.front.secure
        if self.state == BUSY and self.stream is not None and self.stream.body_done:
            return not self.front.secure       # the answer is still wanted, and those of the requests behind it
        if self.turn is not None:
            return not self.front.secure
        if self.state == SENDING or (self.state == READING and self.pending is not None and not self.partial):
            return not self.front.secure
        return False

    def pause_writing(self):
        self.paused = True
        if self.state == TUNNEL:
            watch(self)

    def resume_writing(self):
        self.paused = False
        if self.state == SENDING:
            pump(self)
        elif self.stream is not None:
            self.stream._wake_writer()
        elif self.turn is not None:
            self.front.second.room(self.turn)
        elif self.state == READING:
            self._release()
            self._again()

    def data_received(self, bytes data):
        self.front.lookout.begin()
        self.take_in(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data)
        self.front.lookout.end()

    # hot
    cdef int take_in(self, const char* buf, size_t n, object owner) except -1:
        """Bytes from the client. They lie in `buf` for the length of this call, or of `owner`'s life where it has one."""
        cdef bytearray whole
        if self.state == READING:
            if self.pending is None:
                self._consume(buf, n, owner)
            else:
                whole = self.pending  # python: handover
                whole.extend(buf[:n])  # python: handover
                self.pending = None  # python: handover
                self._consume(PyByteArray_AS_STRING(whole), PyByteArray_GET_SIZE(whole), whole)
        elif self.state == BUSY or self.state == DRAINING or self.state == SENDING:
            self._behind(buf, n)
        elif self.state == TUNNEL:
            self.written += n
            self.stream.tunnel(PyBytes_FromStringAndSize(buf, n) if owner is None else owner)  # python: handover
        return 0

    cdef int _behind(self, const char* buf, size_t n) except -1:
        """Bytes that come while a request has the turn: its body, then the requests behind it."""
        cdef size_t pos = 0
        if self.body != BODY_NONE:
            if feed_body(self, buf, n, &pos) < 0:
                return 0
        if pos < n:
            self._keep(buf + pos, n - pos)
        if self.state == DRAINING and self.body == BODY_NONE:
            self._next()

    # --- requests ---

    # hot
    cdef int _consume(self, const char* buf, size_t n, object owner) except -1:
        """Take requests off the front of `buf` until one keeps the turn or bytes are missing. `owner` keeps `buf`."""
        cdef size_t pos = 0, after
        cdef int got
        cdef bint ending
        cdef Answer answer
        cdef int64_t began = microseconds() if self.front.log is not None else 0
        while pos < n:
            if self.paused:
                # The client does not read its answers: no more requests until it does.
                self._keep_rest(buf, pos, n, owner)
                self._hold()
                watch(self)  # python: handover
                return 0
            got = scan_request(buf + pos, n - pos, &self.resume, self.front.head_limit,
                               self.front.field_limit, &scanned)
            if got == 0:
                if not self.partial:
                    # absolute: more bytes of the same head do not move it
                    self.partial = True
                    self._due(monotonic() + self.front.head_timeout)
                self._keep_rest(buf, pos, n, owner)
                self._release()
                if self.ended:
                    self._close()
                return 0
            self.resume = 0
            self.partial = False
            if got < 0:
                self._refuse(scan_error_status(got), scan_error_name(got).decode())  # python: ending
                return 0
            if not self.paused and self.front.lane.answer(buf + pos, &scanned, self.front.secure,  # python: ownership
                                                          self.front.names, &answer):  # python: ownership
                if scanned.close or self.front.draining:
                    self.last = True
                ending = self.last and scanned.close and pos + scanned.length == n
                if answer.record == NULL:
                    send_bytes(self, answer.out, answer.out_len, ending)
                if self.front.log is not None:
                    self.front.log.hit(self.address, self.front.secure,  # python: ownership
                                       buf + pos, &scanned, &answer, microseconds() - began)
                pos += scanned.length
                if self.state == CLOSED:
                    return 0
                if answer.record != NULL:
                    if pos < n:
                        self._keep_rest(buf, pos, n, owner)
                    start_transfer(self, &answer)
                    return 0
                if self.last:
                    # the client said that nothing follows: nothing to wait for
                    if ending and not self.queued and self._has_said_all():
                        self._close()
                    else:
                        self._linger()
                    return 0
                continue
            if self.front.second is not None and self.front.second.take(self, buf + pos, &scanned):  # python: handover
                pos += scanned.length
                if pos < n and self.state != CLOSED:
                    self._keep_rest(buf, pos, n, owner)
                return 0
            self._begin(buf + pos, &scanned)  # python: handover
            pos += scanned.length
            if self.state != BUSY:
                return 0
            if self.body != BODY_NONE:
                after = pos
                if feed_body(self, buf, n, &after) < 0:  # python: handover
                    after = n       # nothing behind it is a request
                pos = after
            if pos < n:
                self._keep_rest(buf, pos, n, owner)
            self.front.exchange(self.stream)  # python: handover
            return 0
        if not self.last:
            self.deadline = monotonic() + self.front.idle_timeout
            if self.slot == 0:
                self._due(self.deadline)
        if self.ended:
            self._close()

    cdef int _busy(self, RequestHead* head) except -1:
        """A request has the turn from now on, and its client's rate counts."""
        self.state = BUSY
        if head.close or (head.minor == 0 and not head.keep_alive) or self.front.draining:
            self.last = True
        self.deadline = 0
        self.still = self.marked = monotonic()
        self.mark = self.written
        self._due(self.marked + GRACE)

    cdef ClientStream hand_over(self, bytes head, int64_t began):
        """The second lane's turn becomes the exchange's; `head` is the request's, as it was taken."""
        cdef size_t resume = 0
        self.turn = None
        scan_request(head, len(head), &resume, len(head), MAX_FIELDS, &scanned)
        self._begin(head, &scanned)
        self.stream.began = began
        return self.stream

    cdef void _begin(self, const char* buf, RequestHead* head):
        """Make the request a ClientStream and give it the turn."""
        cdef ClientStream stream = stream_of(self, buf, head)
        self.stream = stream
        self._busy(head)
        if begin_body(self, head) < 0:
            return
        if (head.present >> F_EXPECT) & 1 and head.minor == 1:
            if any(n.lower() == "expect" and v.lower() == "100-continue"
                   for n, v in stream.fields):
                stream.expects_continue = stream.has_body
            else:
                self._refuse(417, "expectation")

    def _count(self, str name):
        self.front.census.faults[name] = self.front.census.faults.get(name, 0) + 1

    cdef void _refuse(self, int status, str name):
        """Answer a fault in framing and close; what follows on this connection is never read as a request."""
        cdef ClientStream stream = self.stream
        self._count(name)
        self.last = True
        self.body = BODY_NONE
        self.pending = None
        if stream is None:
            stream = self.stream = stream_of_no_request(self)
        stream.body_done = True
        self.state = BUSY
        self.front.refuse(stream, status, name)

    # --- the turn passes on ---

    cdef int _settle(self) except -1:
        """The exchange has written its whole answer."""
        self.stream = None
        if self.state == CLOSED:
            return 0
        if self.body != BODY_NONE:
            if self.last or (self.body == BODY_LENGTH and self.body_left > DRAIN_BOUND):
                self._linger()
                return 0
            self.state = DRAINING
            self.marked = monotonic()
            self.mark = self.written
            self.body_seen = self.front.body_limit - DRAIN_BOUND if self.front.body_limit > DRAIN_BOUND else 0
            self._release()
            self._due(self.marked + LINGER)
            return 0
        self._next()

    cdef int _next(self) except -1:
        if self.last:
            self._linger()
            return 0
        self.state = READING
        self.body = BODY_NONE
        self.resume = 0
        if self.pending is None:
            self._release()
        self._due(monotonic() + (self.front.idle_timeout if self.pending is None else self.front.head_timeout))
        if self.pending is not None:
            self.front.loop.call_soon(self._again)
        elif self.ended:
            self._close()

    def _turn(self):
        if self.state == SENDING:
            pump(self)

    def _again(self):
        """Go on with the requests that waited; from the loop, so that a long pipeline is no deep recursion."""
        cdef bytearray whole
        if self.state == READING and self.pending is not None:
            whole = self.pending
            self.pending = None
            self._consume(PyByteArray_AS_STRING(whole), PyByteArray_GET_SIZE(whole), whole)

    cdef int _keep_rest(self, const char* buf, size_t pos, size_t n, object owner) except -1:
        """What is left of `buf` waits. A bytearray is cut at its front, which copies nothing."""
        if isinstance(owner, bytearray):
            del (<bytearray>owner)[:pos]
            self.pending = owner
            if self.state != READING and n - pos > PENDING_WINDOW:
                self._hold()
        else:
            self._keep(buf + pos, n - pos)

    cdef int _keep(self, const char* buf, size_t n) except -1:
        """Remember bytes that are not yet a whole request."""
        if self.pending is None:
            self.pending = bytearray()
        (<bytearray>self.pending).extend(buf[:n])
        if self.state != READING and PyByteArray_GET_SIZE(self.pending) > PENDING_WINDOW:
            self._hold()

    cdef int _hold(self) except -1:
        if not self.held and self.transport is not None:
            self.held = True
            self.transport.pause_reading()

    cdef int _release(self) except -1:
        if self.held and self.transport is not None:
            self.held = False
            self.transport.resume_reading()

    # --- deadlines and the end ---

    cdef int _due(self, int64_t deadline) except -1:
        self.deadline = deadline
        self.front.wheel.schedule(self, deadline)

    # hot
    cdef bint _has_said_all(self) noexcept nogil:
        """Whether nothing has come behind the last request: closing resets what nobody has read, and the answer with it.

        The answer has waited for the end: one segment has both.
        """
        cdef char byte
        return self.fd < 0 or recv(self.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) <= 0

    cdef int _linger(self) except -1:
        """Close so that the answer arrives: shut our side, then read and drop until the peer has shut its own."""
        self.last = True
        if self.ended or self.front.secure or self.transport is None:
            self._close()
            return 0
        self.state = LINGERING
        self.pending = None
        self.body = BODY_NONE
        self._release()
        self.emptied = self.transport.get_write_buffer_size() == 0
        watch(self)
        if self.emptied:
            self._due(self.marked + LINGER)
        self.transport.write_eof()

    cdef int _close(self) except -1:
        if self.transport is not None and self.state != CLOSED:
            self.state = CLOSED
            if self.queued:
                watch(self)       # until what is written has left
            self.transport.close()

    cdef int _abort(self) except -1:
        if self.transport is not None:
            self.state = CLOSED
            self.transport.abort()
