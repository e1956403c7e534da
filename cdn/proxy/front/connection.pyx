# Part of cdn/proxy/_front.pyx: one client connection, from bytes to requests.


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
            self._watch()

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
            self._behind(buf, n)  # python: handover
        elif self.state == TUNNEL:
            self.written += n
            self.stream.tunnel(PyBytes_FromStringAndSize(buf, n) if owner is None else owner)  # python: handover
        return 0

    cdef void _behind(self, const char* buf, size_t n):
        """Bytes that come while a request has the turn: its body, then the requests behind it."""
        cdef size_t pos = 0
        if self.body != BODY_NONE:
            if self._feed_body(buf, n, &pos) < 0:
                return
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
                self._keep_rest(buf, pos, n, owner)  # python: handover
                self._hold()  # python: handover
                self._watch()  # python: handover
                return 0
            got = scan_request(buf + pos, n - pos, &self.resume, self.front.head_limit,
                               self.front.field_limit, &scanned)
            if got == 0:
                if not self.partial:
                    # absolute: more bytes of the same head do not move it
                    self.partial = True
                    self._due(monotonic() + self.front.head_timeout)  # python: handover
                self._keep_rest(buf, pos, n, owner)  # python: handover
                self._release()  # python: handover
                if self.ended:
                    self._close()  # python: ending
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
                        self._keep_rest(buf, pos, n, owner)  # python: handover
                    start_transfer(self, &answer)
                    return 0
                if self.last:
                    # the client said that nothing follows: nothing to wait for
                    if ending and not self.queued and self._has_said_all():
                        self._close()  # python: ending
                    else:
                        self._linger()  # python: ending
                    return 0
                continue
            if self.front.second is not None and self.front.second.take(self, buf + pos, &scanned):  # python: handover
                pos += scanned.length
                if pos < n and self.state != CLOSED:
                    self._keep_rest(buf, pos, n, owner)  # python: handover
                return 0
            self._begin(buf + pos, &scanned)  # python: handover
            pos += scanned.length
            if self.state != BUSY:
                return 0
            if self.body != BODY_NONE:
                after = pos
                if self._feed_body(buf, n, &after) < 0:  # python: handover
                    after = n       # nothing behind it is a request
                pos = after
            if pos < n:
                self._keep_rest(buf, pos, n, owner)  # python: handover
            self.front.exchange(self.stream)  # python: handover
            return 0
        if not self.last:
            self.deadline = monotonic() + self.front.idle_timeout
            if self.slot == 0:
                self._due(self.deadline)  # python: callback
        if self.ended:
            self._close()  # python: ending

    cdef void _busy(self, RequestHead* head):
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
        cdef ClientStream stream = ClientStream.__new__(ClientStream)
        cdef FieldSpan* f
        cdef uint32_t i
        self.stream = stream
        stream.connection = self
        stream.began = microseconds()
        stream.method = buf[head.method:head.method + head.method_len].decode("latin-1")
        stream.target = PyBytes_FromStringAndSize(buf + head.target, head.target_len)
        stream.version = (1, head.minor)
        stream.secure = self.front.secure
        stream.address = self.address
        stream.fields = []
        for i in range(head.nfields):
            f = &head.fields[i]
            stream.fields.append((
                buf[f.name:f.name + f.name_len].decode("latin-1"),
                buf[f.value:f.value + f.value_len].decode("latin-1"),
            ))
        stream.upgrade = head.upgrade and (head.present >> F_UPGRADE) & 1
        stream.length_left = -1
        self._busy(head)
        if self._begin_body(head) < 0:
            return
        if (head.present >> F_EXPECT) & 1 and head.minor == 1:
            if any(n.lower() == "expect" and v.lower() == "100-continue"
                   for n, v in stream.fields):
                stream.expects_continue = stream.has_body
            else:
                self._refuse(417, "expectation")

    cdef int _begin_body(self, RequestHead* head):
        cdef ClientStream stream = self.stream
        self.body_seen = 0
        self.body = BODY_NONE
        stream.body_done = True
        if head.chunked:
            self.body = BODY_CHUNKED
            memset(&self.chunked, 0, sizeof(Chunked))
        elif head.content_length >= 0:
            stream.body_length = head.content_length
            if head.content_length > self.front.body_limit:
                self._refuse(413, "body-limit")
                return -1
            if head.content_length > 0:
                self.body = BODY_LENGTH
                self.body_left = head.content_length
        if self.body != BODY_NONE:
            stream.has_body = True
            stream.body_done = False
        return 0

    cdef int _feed_body(self, const char* buf, size_t n, size_t* pos):
        """Move body bytes from buf[pos:] to the stream (or drop them); -1: the connection is no longer ours."""
        cdef ClientStream stream = self.stream
        cdef size_t data = 0, length = 0
        cdef int step
        while pos[0] < n and self.body != BODY_NONE:
            if self.body == BODY_LENGTH:
                data = pos[0]
                length = n - data
                if length > self.body_left:
                    length = self.body_left
                self.body_left -= length
                pos[0] += length
                step = CHUNK_DATA
            else:
                step = chunked_next(&self.chunked, buf, n, pos, &data, &length)
            if step == CHUNK_BAD:
                self.body = BODY_NONE
                self._count("chunked")
                self._spoil("the request's chunked framing is broken")
                return -1
            if step == CHUNK_DATA:
                self.body_seen += length
                self.written += length
                if self.body_seen > self.front.body_limit:
                    self.body = BODY_NONE
                    self._count("body-limit")
                    self._spoil("the request's body is larger than the limit")
                    return -1
                if stream is not None and not stream.finished:
                    stream._push(PyBytes_FromStringAndSize(buf + data, length))
                    if stream.waiting > BODY_WINDOW:
                        self._hold()
            if step == CHUNK_END or (self.body == BODY_LENGTH and self.body_left == 0):
                self.body = BODY_NONE
                if stream is not None:
                    stream._body_end()
            if step == CHUNK_MORE:
                break
        return 0

    def _count(self, str name):
        self.front.census.faults[name] = self.front.census.faults.get(name, 0) + 1

    def _spoil(self, str why):
        """The request body broke its framing: the exchange hears of it, nothing behind it is read as a request."""
        cdef ClientStream stream = self.stream
        self.last = True
        if stream is None or stream.finished:
            self._linger()
            return
        stream._fail(ValueError(why))

    cdef void _refuse(self, int status, str name):
        """Answer a fault in framing and close; what follows on this connection is never read as a request."""
        cdef ClientStream stream = self.stream
        self._count(name)
        self.last = True
        self.body = BODY_NONE
        self.pending = None
        if stream is None:
            stream = ClientStream.__new__(ClientStream)
            stream.connection = self
            stream.method = "-"
            stream.target = b"-"
            stream.version = (1, 1)
            stream.fields = []
            stream.address = self.address
            stream.secure = self.front.secure
            stream.began = microseconds()
            stream.length_left = -1
            self.stream = stream
        stream.body_done = True
        self.state = BUSY
        self.front.refuse(stream, status, name)

    # --- the turn passes on ---

    cdef void _settle(self):
        """The exchange has written its whole answer."""
        self.stream = None
        if self.state == CLOSED:
            return
        if self.body != BODY_NONE:
            if self.last or (self.body == BODY_LENGTH and self.body_left > DRAIN_BOUND):
                self._linger()
                return
            self.state = DRAINING
            self.marked = monotonic()
            self.mark = self.written
            self.body_seen = self.front.body_limit - DRAIN_BOUND if self.front.body_limit > DRAIN_BOUND else 0
            self._release()
            self._due(self.marked + LINGER)
            return
        self._next()

    cdef void _next(self):
        if self.last:
            self._linger()
            return
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

    cdef void _keep_rest(self, const char* buf, size_t pos, size_t n, object owner):
        """What is left of `buf` waits. A bytearray is cut at its front, which copies nothing."""
        if isinstance(owner, bytearray):
            del (<bytearray>owner)[:pos]
            self.pending = owner
            if self.state != READING and n - pos > PENDING_WINDOW:
                self._hold()
        else:
            self._keep(buf + pos, n - pos)

    cdef void _keep(self, const char* buf, size_t n):
        """Remember bytes that are not yet a whole request."""
        if self.pending is None:
            self.pending = bytearray()
        (<bytearray>self.pending).extend(buf[:n])
        if self.state != READING and PyByteArray_GET_SIZE(self.pending) > PENDING_WINDOW:
            self._hold()

    cdef void _hold(self):
        if not self.held and self.transport is not None:
            self.held = True
            self.transport.pause_reading()

    cdef void _release(self):
        if self.held and self.transport is not None:
            self.held = False
            self.transport.resume_reading()

    # --- deadlines and the end ---

    cdef void _due(self, int64_t deadline):
        self.deadline = deadline
        self.front.wheel.schedule(self, deadline)

    cdef void _check(self, int64_t now):
        """The wheel calls at or after the deadline, or earlier when it was moved."""
        if self.transport is None:
            return
        if now < self.deadline:
            self.front.wheel.schedule(self, self.deadline)
            return
        if self.state == LINGERING and self.transport.get_write_buffer_size() == 0:
            if self.emptied:
                self._abort()
            else:
                self.emptied = True
                self._due(now + LINGER)
        elif self.state == READING and not self.paused:
            self.front.census.timeouts += 1
            if self.pending is not None:
                self._refuse(408, "head-timeout")
            else:
                self._close()
        elif self.state == DRAINING:
            self._abort()
        elif self.state != TUNNEL or self.paused:
            if self._too_slow(now):
                self.front.census.timeouts += 1
                self._abort()
            else:
                self._due(now + GRACE)

    cdef void _watch(self):
        """From now on the peer's rate counts."""
        cdef uint64_t waits = self.transport.get_write_buffer_size()
        self.still = self.marked = monotonic()
        self.mark = self.written - waits if self.written > waits else 0
        self.slow = 0
        self._due(self.marked + GRACE)

    cdef bint _too_slow(self, int64_t now):
        """Whether the peer holds up the transfer.

        While it is the peer's turn to move bytes, moving some but fewer than the minimum rate is too slow; moving none
        is a pause (a player whose buffer is full), bounded as idleness is.
        """
        cdef uint64_t waits = self.transport.get_write_buffer_size()
        cdef uint64_t moved = self.written - waits if self.written > waits else 0
        cdef bint theirs = self.paused or waits > 0 or (
            self.stream is not None and self.stream.reader is not None)
        cdef bint slow
        if not theirs or moved != self.mark:
            self.still = now
        elif now - self.still >= self.front.idle_timeout:
            return True
        slow = theirs and moved > self.mark and (
            (moved - self.mark) * 1000 < <uint64_t>(self.front.min_rate * (now - self.marked)))
        self.mark = moved
        self.marked = now
        # twice in a row: a pause may end just before we look
        self.slow = self.slow + 1 if slow else 0
        return self.slow > 1

    # hot
    cdef bint _has_said_all(self) noexcept nogil:
        """Whether nothing has come behind the last request: closing resets what nobody has read, and the answer with it.

        The answer has waited for the end: one segment has both.
        """
        cdef char byte
        return self.fd < 0 or recv(self.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) <= 0

    cdef void _linger(self):
        """Close so that the answer arrives: shut our side, then read and drop until the peer has shut its own."""
        self.last = True
        if self.ended or self.front.secure or self.transport is None:
            self._close()
            return
        self.state = LINGERING
        self.pending = None
        self.body = BODY_NONE
        self._release()
        self.emptied = self.transport.get_write_buffer_size() == 0
        self._watch()
        if self.emptied:
            self._due(self.marked + LINGER)
        self.transport.write_eof()

    cdef void _close(self):
        if self.transport is not None and self.state != CLOSED:
            self.state = CLOSED
            if self.queued:
                self._watch()       # until what is written has left
            self.transport.close()

    cdef void _abort(self):
        if self.transport is not None:
            self.state = CLOSED
            self.transport.abort()
