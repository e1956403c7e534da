# Part of cdn/proxy/_front.pyx: what the exchange holds of a request.


cdef class ClientStream:
    """One request and its answer.

    Reading the body and draining the answer are the only things to wait for. Everything raises ConnectionResetError once
    the client has left; the exchange's task is cancelled then, too.
    """

    def __cinit__(self):
        self.chunks = []

    # --- the request's body ---

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. ValueError when its framing broke or it is over the limit."""
        while not self.chunks:
            if self.body_error is not None:
                raise self.body_error
            if self.body_done:
                return b""
            if self.connection is None:
                raise ConnectionResetError("the request's answer is out, or its client has left")
            if self.expects_continue and not self.started:
                self.expects_continue = False
                self._raw(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.reader = self.connection.front.loop.create_future()
            try:
                await self.reader
            finally:
                self.reader = None
        return self._take()

    def whole(self):
        """All of the body, where it is here and its length was declared, and nothing of it was read; else None."""
        if (not self.body_done or self.body_error is not None or self.body_length is None or not self.chunks
                or self.waiting != <size_t>self.body_length):
            return None
        return self._take()

    def _take(self):
        cdef bytes data = b"".join(self.chunks) if len(self.chunks) > 1 else self.chunks[0]
        self.chunks.clear()
        self.waiting = 0
        if self.connection is not None and self.connection.body != BODY_NONE:
            self.connection._release()
        return data

    cdef void _push(self, bytes data):
        self.chunks.append(data)
        self.waiting += PyBytes_GET_SIZE(data)
        self._wake_reader()

    cdef void _body_end(self):
        self.body_done = True
        self._wake_reader()

    cdef void _fail(self, object error):
        self.body_error = error
        self._wake_reader()
        self._wake_writer()

    cdef void _wake_reader(self):
        if self.reader is not None and not self.reader.done():
            self.reader.set_result(None)

    cdef void _wake_writer(self):
        if self.writer is not None and not self.writer.done():
            self.writer.set_result(None)

    # --- the answer ---

    def interim(self, bytes head) -> None:
        """Pass an interim response on: a whole head with its empty line. HTTP/1.0 clients get none (RFC 9110 §15.2)."""
        if self.version[1] == 1 and not self.started:
            self._raw(head)

    def start(self, bytes head, int status, length) -> None:
        """Write the final head. `head`: status line and fields, without framing fields, Connection and the empty line.

        `length` is the body's in bytes, None when unknown. With `length` negative no framing field is written (the head
        has its own, or a 304 has none). No body bytes are accepted where HTTP has none (HEAD, 204, 304).
        """
        cdef Connection c = self.connection
        cdef bytes framing = b""
        if c is None:
            raise ConnectionResetError("the client has left")
        if self.started:
            raise RuntimeError("the head is already out")
        self.started = True
        self.status = status
        self.bodyless = self.method == "HEAD" or status == 204 or status == 304
        if not self.body_done and (self.expects_continue or c.body == BODY_CHUNKED or c.body_left > DRAIN_BOUND):
            if c.front.draining or self.expects_continue or status >= 400:
                c.last = True
        if length is None:
            if self.bodyless:
                self.length_left = 0
                if self.method == "HEAD" and self.version[1] == 1:
                    framing = b"Transfer-Encoding: chunked\r\n"
            elif self.version[1] == 1:
                self.chunk_out = True
                self.length_left = -1
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self.length_left = -1
                c.last = True
        elif length < 0:
            self.length_left = 0
        else:
            if status != 204 and status != 304:
                framing = b"Content-Length: %d\r\n" % length
            self.length_left = 0 if self.bodyless else length
        if c.last:
            framing += b"Connection: close\r\n"
        elif self.version[1] == 0:
            framing += b"Connection: keep-alive\r\n"
        self._raw(head + framing + b"\r\n")

    def start_stored(self, bytes head, int status, length) -> None:
        """Write a head that has its Content-Length already; `length` body bytes follow (0 for none)."""
        cdef Connection c = self.connection
        if c is None:
            raise ConnectionResetError("the client has left")
        self.started = True
        self.status = status
        self.length_left = length
        if c.last:
            head += b"Connection: close\r\n"
        elif self.version[1] == 0:
            head += b"Connection: keep-alive\r\n"
        self._raw(head + b"\r\n")

    cdef int go_on(self, int status, bint chunked, int64_t left, uint64_t sent) except -1:
        """Another lane has written the head, and `sent` bytes of body; `left` of them follow, -1: unknown."""
        self.started = True
        self.status = status
        self.chunk_out = chunked
        self.length_left = left
        self.bytes_sent = sent
        return 0

    def write(self, bytes data) -> None:
        """Body bytes, in the framing that `start` chose. More than the declared length is a fault of the caller."""
        cdef size_t n = PyBytes_GET_SIZE(data)
        if self.connection is None:
            raise ConnectionResetError("the client has left")
        if n == 0 or self.bodyless:
            return
        self.bytes_sent += n
        if self.length_left >= 0:
            if <int64_t>n > self.length_left:
                raise RuntimeError("more body than was declared")
            self.length_left -= n
        if self.chunk_out:
            data = b"%x\r\n%b\r\n" % (n, data)
        self._raw(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written."""
        while self.connection is not None and self.connection.paused:
            self.writer = self.connection.front.loop.create_future()
            try:
                await self.writer
            finally:
                self.writer = None
        if self.connection is None:
            raise ConnectionResetError("the client has left")

    def finish(self) -> None:
        """The answer is whole: give the turn back. An answer that is short of its length is cut instead."""
        cdef Connection c = self.connection
        if self.finished or c is None:
            return
        if not self.started or self.length_left > 0:
            self.cut()
            return
        self.finished = True
        if self.chunk_out:
            self._raw(b"0\r\n\r\n")
        self.connection = None
        c._settle()

    def cut(self) -> None:
        """End the connection so that the client sees that the answer is not whole."""
        cdef Connection c = self.connection
        cdef linger hard
        if c is not None:
            if self.started and not self.finished and not self.chunk_out and self.length_left < 0 and c.fd >= 0:
                # only the connection's end tells where the body ends: a reset says that it is not there yet
                hard.l_onoff = 1
                hard.l_linger = 0
                setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(linger))
            c._abort()
        self.finished = True

    def covers(self, str host) -> bool:
        """Whether the certificate this request came in under covers the host."""
        return self.connection is None or self.connection.front.covers(host)

    @property
    def verified(self) -> bool:
        """Whether the client's certificate was signed by the listener's `client_ca`."""
        if self.connection is None or self.connection.transport is None or not self.secure:
            return False
        return bool(self.connection.transport.get_extra_info("peercert"))

    def elapsed_us(self) -> int:
        """Since the head was complete."""
        return microseconds() - self.began

    @property
    def body_broken(self) -> bool:
        """Whether the request body ended in a fault of framing or over the limit."""
        return isinstance(self.body_error, ValueError)

    @property
    def closing(self) -> bool:
        return self.connection is None or self.connection.last

    def no_keep_alive(self) -> None:
        """No further request is read from this connection."""
        if self.connection is not None:
            self.connection.last = True

    def become_tunnel(self, bytes head, receive) -> None:
        """Write a 101 head and hand over raw bytes: `receive(data)`, b"" at the client's end, None when it is gone."""
        cdef Connection c = self.connection
        cdef object pending
        if c is None:
            raise ConnectionResetError("the client has left")
        self.started = True
        self.status = 101
        c.last = True
        self.tunnel = receive
        self._raw(head)
        c.state = TUNNEL
        c._release()
        pending = c.pending
        c.pending = None
        if pending is not None:
            receive(bytes(pending))
        if c.ended:
            receive(b"")

    def tunnel_write(self, bytes data) -> None:
        if self.connection is None:
            raise ConnectionResetError("the client has left")
        self.bytes_sent += PyBytes_GET_SIZE(data)
        self._raw(data)

    def tunnel_hold(self, bint hold) -> None:
        """Stop or go on reading from the client."""
        if self.connection is not None:
            if hold:
                self.connection._hold()
            else:
                self.connection._release()

    def tunnel_end(self) -> None:
        """The origin has ended: shut our side and let the client end."""
        if self.connection is not None and self.connection.transport is not None:
            self.finished = True
            self.connection._close()

    def _raw(self, bytes data):
        if self.connection is None or self.connection.transport is None:
            raise ConnectionResetError("the client has left")
        send_bytes(self.connection, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
