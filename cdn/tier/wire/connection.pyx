# One origin connection: framing (RFC 9112 §6.3), reuse, and its one deadline.

cdef class Connection:
    """An asyncio protocol: one origin connection, one exchange at a time."""

    def __init__(self, Pool pool not None, object timeouts, uint32_t max_head, uint32_t max_fields):
        self.pool = pool
        self.server = pool.server
        self.loop = pool.loop
        self.max_head = max_head
        self.max_fields = min(max_fields, <uint32_t>_core.MAX_FIELDS)
        self.first_byte = timeouts.first_byte / 1000.0
        self.between_bytes = timeouts.between_bytes / 1000.0
        self.state = S_NEW
        self.fd = -1

    # -- the protocol side -----------------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        if self.state == S_DONE:            # given up while it was connecting
            transport.abort()
            return
        self.secure = transport.get_extra_info("ssl_object") is not None
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self.fd = sock.fileno()
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        self.era = self.pool.era
        self.pool.live.add(self)
        self.pool.opened += 1

    def data_received(self, bytes data not None):
        self._take_in(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int _take_in(self, const char* data, Py_ssize_t n) except -1:
        cdef Sink sink
        if self.state == S_IDLE or self.state == S_NEW:
            return self._discard()
        try:
            self._feed(data, n)
            sink = self.sink
            if sink is not None:
                sink.on_told()
        except Exception as exc:        # a sink's own failure: it must hear of it, the loop must not
            self._raise(exc)
        return 0

    def eof_received(self):
        self._ended(None)
        return self.state == S_TUNNEL and not self.secure

    def connection_lost(self, exc):
        self.lost = True
        self._unhook()
        self.pool._leaves(self)
        if exc is None and self.secure and self.state == S_CLOSE and self.sink is not None:
            # No eof_received: the end of TLS never came, and what it would have ended is not whole (RFC 9112 §9.8).
            self._fail(Kind.TRUNCATED, "the connection was cut inside a body that only its end delimits")
        self._ended(exc)
        self.state = S_DONE
        self.fd = -1
        self.deadline = 0
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def pause_writing(self):
        self.writing_paused = True
        self._watch()

    def resume_writing(self):
        self.writing_paused = False
        self._watch()
        if self.sink is not None:
            self.sink.on_writable()

    # -- the exchange's side ---------------------------------------------------------------------------------

    cpdef start(self, Sink sink, bytes head, bint for_head, bint has_body, str upgrade):
        """Send a request head on this new or just taken connection; the body, if any, goes by `write`."""
        self._begin(sink, for_head, has_body, upgrade)
        if self.transport.is_closing():
            self._fail(Kind.RESET, "the connection was closed before the request")
            return
        self.sent = True
        self._watch_at(self.asked_at)
        self._send(PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))

    cdef int ask(self, Sink sink, const char* head, Py_ssize_t n, bint for_head) except -1:
        """`start` without a body, on a connection that the pool has just given."""
        self._begin(sink, for_head, False, None)
        self.sent = True
        self._watch_at(self.asked_at)
        return self._send(head, n)

    cdef int _begin(self, Sink sink, bint for_head, bint has_body, str upgrade) except -1:
        self.sink = sink
        self.for_head = for_head
        self.upgrade = upgrade
        self.body_open = has_body
        self.sending = has_body
        self.keep = False
        self.sent = False
        self.received = False
        self.at_end = False
        self.interims = 0
        self.partial = None
        self.resume = 0
        self.state = S_HEAD
        self.asked_at = _monotonic()
        self.answered_at = 0
        if (self.intake is None and self.fd >= 0 and not self.secure and upgrade is None and self.pool.ttl > 0
                and not self.transport.is_closing()):
            self._hook()
        return 0

    cdef int _send(self, const char* head, Py_ssize_t n) except -1:
        """Past the transport, which would wait for the end of this turn of the loop, where nothing waits in it."""
        cdef Py_ssize_t sent = 0
        if self.queued and self.transport.get_write_buffer_size() == 0:
            self.queued = False
        if self.fd >= 0 and not self.secure and not self.queued:
            sent = send(self.fd, head, n, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent == n:
                return 0
            if sent < 0:
                sent = 0        # full, or broken: the transport finds out which
        self.queued = True
        self.transport.write(PyBytes_FromStringAndSize(head + sent, n - sent))
        return 0

    def write(self, data):
        """Request body or tunnel bytes as framed by the caller: bytes, or a list of bytes for one part."""
        if self.state == S_DONE or self.transport.is_closing():
            return
        self.queued = True
        if type(data) is list:
            self.transport.writelines(data)
        else:
            self.transport.write(data)

    def body_sent(self):
        """The request's body is all written: from now on the response is awaited."""
        self.body_open = False
        self.sending = False
        self.sender = None
        self._watch()

    def set_sender(self, task):
        """The task to cancel when the body need not be sent any more."""
        if self.sending and self.sink is not None:
            self.sender = task
        else:
            task.cancel()

    def body_failed(self, exc):
        """The request's body can't be sent to its end: the connection is worthless."""
        cdef object error = exc
        self.sender = None
        if self.state != S_HEAD:
            error = OriginError(Kind.REQUEST_BODY, "the request's body ended early", server=self.server,
                                sent=True, received=self.received)
            error.__cause__ = exc
        self._raise(error)

    def readable(self):
        """Whether the socket holds bytes, or an end, that the loop has not delivered: hear it first."""
        return self._waiting_bytes() != 0

    def detach(self):
        """Leave a tunnel's transport to somebody else."""
        self._let_go()
        self.state = S_DONE
        if self.intake is not None:
            self._unhook()
            self.transport.resume_reading()
        self.fd = -1
        self.pool._leaves(self)

    cpdef abort(self):
        """Forget the exchange and close at once; its sink hears nothing."""
        self._let_go()
        self._discard()

    def leave(self, Sink sink not None):
        """`abort`, if the exchange is still that of `sink`: the connection may serve another one by now."""
        if self.sink is sink:
            self.abort()

    cdef int _discard(self) except -1:
        if self.state == S_IDLE:
            self.pool.forget(self)
        self.state = S_DONE
        self.deadline = 0
        self._unhook()
        # Now, not in connection_lost: uvloop never calls that where a connect is cancelled at its very end.
        self.pool._leaves(self)
        self.fd = -1                        # closed with the transport, and soon somebody else's
        if self.transport is not None:
            self.transport.abort()
        return 0

    cdef give_back(self):
        """It was taken from the pool and not used."""
        self.state = S_IDLE
        self.pool.give(self)

    cdef pause(self):
        if not self.reading_paused and self.state != S_DONE:
            self.reading_paused = True
            if self.intake is None:
                self.transport.pause_reading()
            else:
                self.intake.drop(self)
            self._watch()

    cdef resume_reading(self):
        if self.reading_paused:
            self.reading_paused = False
            if not self.transport.is_closing():
                if self.intake is None:
                    self.transport.resume_reading()
                else:
                    self.intake.add(self)
            self._watch()

    cdef void _unhook(self) noexcept:
        if self.intake is not None:
            self.intake.drop(self)
            self.intake = None

    cdef int _hook(self) except -1:
        """Read it ourselves from now on. Not from the beginning: a transport starts to read once it has told that it is
        connected."""
        try:
            if self.pool.intake is None:
                self.pool.intake = Intake(self.loop)
            self.transport.pause_reading()
            self.pool.intake.add(self)
        except OSError:                 # no descriptor, or no watch, to be had: the transport reads on
            self.transport.resume_reading()
            return 0
        self.intake = self.pool.intake
        return 0

    # -- framing ---------------------------------------------------------------------------------------------

    cdef int _feed(self, const char* data, Py_ssize_t n) except -1:
        cdef Py_ssize_t at = 0, take
        cdef Sink sink          # held: it may let go of us inside of a call
        self.heard_at = _monotonic()
        if self.answered_at == 0:
            self.answered_at = self.heard_at
        self.received = True
        while self.state == S_HEAD:
            at = self._head(data, n, at)
            if at >= n:
                break
        if self.state == S_DONE or self.state == S_IDLE or self.sink is None:
            return 0
        if self.deadline != 0 and self.state != S_HEAD:
            self.deadline = self.heard_at + self.between_bytes
            self.graced = False
        if at >= n:
            return 0
        if self.state == S_LENGTH:
            take = n - at
            if <uint64_t>take > self.left:
                take = <Py_ssize_t>self.left
            self.left -= take
            sink = self.sink
            sink.on_data(data + at, take)
            if self.left == 0 and self.state == S_LENGTH:
                self._finish(True, at + take < n)
        elif self.state == S_CHUNKS:
            dechunk(self, data, n, at)
        elif self.state == S_CLOSE or self.state == S_TUNNEL:
            sink = self.sink
            sink.on_data(data + at, n - at)
        return 0

    cdef Py_ssize_t _head(self, const char* data, Py_ssize_t size, Py_ssize_t at) except -1:
        """Scan one head that starts or goes on at `at`; where its end is, or the end of `data`."""
        cdef _core.ResponseHead head
        cdef const char* base
        cdef size_t n
        cdef Py_ssize_t before = 0, end
        cdef bytearray kept = self.partial
        cdef int got
        if kept is None:
            base = data + at
            n = size - at
        else:
            before = PyByteArray_GET_SIZE(kept)
            kept += data[at:size]
            base = PyByteArray_AS_STRING(kept)
            n = PyByteArray_GET_SIZE(kept)
        got = _core.scan_response(base, n, &self.resume, self.max_head, self.max_fields, &head)
        if got == 0:
            if kept is None:
                self.partial = bytearray(data[at:size])
            return size
        if got < 0:
            detail = _core.scan_error_name(got).decode("ascii")
            self._fail(Kind.MALFORMED, f"the response head is refused ({detail})")
            return size
        end = at + head.length - before
        self.partial = None
        self.resume = 0
        self.behind = size - end
        self._judge(base, &head, self.behind > 0)
        return end

    cdef int _judge(self, const char* base, _core.ResponseHead* head, bint more) except -1:
        """RFC 9112 §6.3: what frames the body, in its order of precedence."""
        cdef Sink sink
        cdef bint coded = (head.present >> _core.F_TRANSFER_ENCODING) & 1
        cdef Framing framing
        if coded and (head.content_length >= 0 or not head.chunked or head.minor == 0):
            self._fail(Kind.MALFORMED, "the response's Transfer-Encoding is ambiguous")
            return 0
        if head.status < 200:
            return self._interim(base, head)
        self.keep = head.minor == 1 and not head.close and self.upgrade is None
        if self.for_head or head.status == 204 or head.status == 304:
            framing = BY_NOTHING
            if head.status == 204 and (coded or head.content_length > 0):
                self.keep = False       # it may send what it announced
        elif coded:
            framing = BY_CHUNKS
            self.state = S_CHUNKS
            memset(&self.chunks, 0, sizeof(self.chunks))
        elif head.content_length >= 0:
            framing = BY_LENGTH
            self.left = head.content_length
            self.state = S_LENGTH
        else:
            framing = BY_CLOSE
            self.state = S_CLOSE
            self.keep = False
        if head.status >= 300:
            self._stop_sending()        # an answer that does not want the rest (RFC 9112 §9.6)
        self._watch_at(self.heard_at)
        sink = self.sink
        sink.on_head(self, base, head, framing)
        if self.sink is not None and (framing == BY_NOTHING or (framing == BY_LENGTH and self.left == 0)):
            self._finish(True, more)
        return 0

    cdef int _interim(self, const char* base, _core.ResponseHead* head) except -1:
        cdef object fields
        cdef Sink sink
        if head.status == 101:
            fields = _fields(base, head)
            if self.upgrade is None or not head.upgrade or not _has_token(fields, "upgrade", self.upgrade):
                self._fail(Kind.MALFORMED, "the origin switched protocols without being asked")
                return 0
            self.state = S_TUNNEL
            self._watch()
            self.sink.on_tunnel(self, base, head)
            return 0
        self.interims += 1
        if (self.interims > MAX_INTERIM or head.status < 100 or head.content_length > 0
                or (head.present >> _core.F_TRANSFER_ENCODING) & 1):
            self._fail(Kind.MALFORMED, "the origin's interim responses are malformed or too many")
            return 0
        self._watch()
        if head.status != 100:
            sink = self.sink
            sink.on_interim(head.status, _fields(base, head))
        return 0

    cdef int _finish(self, bint whole, bint surplus) except -1:
        """The response ended. Surplus is dropped and costs the connection, so does an unfinished request."""
        cdef Sink sink
        cdef bint again = self.keep and not surplus and not self.body_open and not self.writing_paused
        sink = self._let_go()
        if again and not self.transport.is_closing():
            self.state = S_IDLE
            self.deadline = 0
            self.resume_reading()
            self.pool.give(self)
        else:
            self._discard()
        sink.on_end(whole)
        return 0

    cdef int _stop_sending(self) except -1:
        self.sending = False
        if self.sender is not None:
            self.sender.cancel()
            self.sender = None
        return 0

    cdef Sink _let_go(self):
        cdef Sink sink = self.sink
        self._stop_sending()
        self.sink = None
        self.partial = None
        self.upgrade = None
        return sink

    cdef int _fail(self, object kind, str detail) except -1:
        return self._raise(
            OriginError(kind, detail, server=self.server, sent=self.sent, received=self.received))

    cdef int _raise(self, object error) except -1:
        cdef Sink sink = self._let_go()
        self._discard()
        if sink is not None:
            sink.on_fail(error)
        return 0

    cdef int _ended(self, object exc) except -1:
        """The origin closed (exc is None), or the connection broke."""
        cdef Sink sink
        if self.state == S_IDLE or self.state == S_NEW:
            self._discard()
        elif self.sink is None:
            return 0
        elif exc is not None and type(exc).__module__ == "ssl":
            # An alert: TLS 1.3 refuses our certificate only when we believe the handshake over (RFC 8446 §4.4.2).
            self._fail(Kind.TLS, f"TLS failed ({getattr(exc, 'reason', None) or type(exc).__name__})")
        elif exc is not None:
            self._fail(Kind.RESET, f"the connection broke ({type(exc).__name__})")
        elif self.state == S_HEAD:
            self._fail(Kind.RESET, "the connection was closed before a response head")
        elif self.state == S_CLOSE:
            self._finish(False, False)
        elif self.state == S_TUNNEL:
            self.sink.on_end(False)
        else:
            self._fail(Kind.TRUNCATED, "the response's body is shorter than its framing says")
        return 0

    # -- the deadline ----------------------------------------------------------------------------------------

    cdef int _watch(self) except -1:
        return self._watch_at(_monotonic())

    cdef int _watch_at(self, double now) except -1:
        """What is awaited now, and for how long. While our body goes out the origin owes nothing but room."""
        cdef double seconds = 0
        if self.state == S_HEAD or self.state == S_LENGTH or self.state == S_CHUNKS or self.state == S_CLOSE:
            if self.sending:
                if self.writing_paused:
                    seconds = self.between_bytes
                    self.unsent = self.transport.get_write_buffer_size()
            elif self.state == S_HEAD:
                seconds = self.first_byte
            elif not self.reading_paused:
                seconds = self.between_bytes
        if seconds == 0:
            self.deadline = 0
            return 0
        self.graced = False
        self.deadline = now + seconds
        return self._arm(now, seconds)

    cdef int _arm(self, double now, double seconds) except -1:
        if self.timer is not None:
            if self.fires <= self.deadline + 0.001:
                return 0
            self.timer.cancel()
        self.fires = now + seconds
        self.timer = self.loop.call_later(seconds, self._on_timer)
        return 0

    def _on_timer(self):
        cdef double left
        cdef Py_ssize_t unsent
        self.timer = None
        if self.deadline == 0 or self.sink is None:
            return
        left = self.deadline - _monotonic()
        if left <= 0.0005 and self.sending:
            unsent = self.transport.get_write_buffer_size()
            if unsent < self.unsent:
                self.unsent = unsent
                left = self.between_bytes
                self.deadline = _monotonic() + left
        if left <= 0.0005 and not self.graced and self._waiting_bytes() > 0:
            self.graced = True
            left = GRACE
            self.deadline = _monotonic() + left
        if left > 0.0005:
            self._arm(_monotonic(), left)
        elif self.state == S_HEAD and not self.sending:
            self._fail(Kind.FIRST_BYTE_TIMEOUT, f"no response head within {self.first_byte:g} s")
        elif self.sending:
            self._fail(Kind.BETWEEN_BYTES_TIMEOUT, f"read nothing for {self.between_bytes:g} s")
        else:
            self._fail(Kind.BETWEEN_BYTES_TIMEOUT, f"silent for {self.between_bytes:g} s inside the body")

    cdef int _waiting_bytes(self) noexcept:
        """1: bytes (under TLS: records) wait in the socket; -1: it ended or broke; 0: neither."""
        cdef char byte
        cdef Py_ssize_t got
        if self.fd < 0:
            return 0
        got = recv(self.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
        if got > 0:
            return 1
        if got == 0:
            return -1
        return 0 if errno == EAGAIN or errno == EINTR else -1
