# What the plain connections of one server receive: one epoll for all of them, which the loop watches, and one buffer.
#
# A connection whose bytes come through the loop's transport costs a bytes object, a copy and a call into Python for each
# segment. Here a turn of the loop makes one call for all that have something, and the bytes are used where they were
# received. The transport stays: it writes what the socket does not take at once, and it closes.

cdef enum:
    INTAKE_ROOM = 256 << 10
    INTAKE_FIRST = 4 << 10      # of what a connection has; the rest follows in a second call
    INTAKE_TURN = 64            # connections that are heard before the loop has its turn


cdef class Intake:
    """The loop's reader while its pool has connections; `close` when it has none."""

    def __cinit__(self, loop):
        self.loop = loop
        self.conns = {}
        self.room = <char*>malloc(INTAKE_ROOM)
        self.ep = epoll_create1(EPOLL_CLOEXEC)
        if self.room == NULL:
            raise MemoryError
        if self.ep < 0:
            raise OSError(errno, "no epoll descriptor")
        loop.add_reader(self.ep, self._ready)

    def __dealloc__(self):
        free(self.room)
        if self.ep >= 0:
            close(self.ep)

    cdef int add(self, Connection conn) except -1:
        self._watch(EPOLL_CTL_ADD, conn.fd)
        self.conns[conn.fd] = conn
        return 0

    cdef int _watch(self, int what, int fd) except -1:
        """From now on, what is there already included."""
        cdef epoll_event event
        event.events = EPOLLIN | EPOLLRDHUP | EPOLLET
        event.data.fd = fd
        if epoll_ctl(self.ep, what, fd, &event) < 0:
            raise OSError(errno, "a connection cannot be watched")
        return 0

    cdef void drop(self, Connection conn) noexcept:
        """Where its descriptor is closed already, the number may be another connection's by now."""
        if self.conns.get(conn.fd) is conn:
            del self.conns[conn.fd]
            epoll_ctl(self.ep, EPOLL_CTL_DEL, conn.fd, NULL)

    cdef int close(self) except -1:
        if self.ep >= 0:
            if not self.loop.is_closed():
                self.loop.remove_reader(self.ep)
            close(self.ep)
            self.ep = -1
            self.conns = {}
        return 0

    def _ready(self):
        cdef epoll_event events[INTAKE_TURN]
        cdef Connection conn
        cdef double now = _monotonic()
        cdef int i, count = epoll_wait(self.ep, events, INTAKE_TURN, 0)
        if count < INTAKE_TURN:
            self.heard = now
        for i in range(count):
            conn = self.conns.get(events[i].data.fd)
            if conn is not None:
                try:
                    self._hear(conn, events[i].events & ~<uint32_t> EPOLLIN != 0)
                except Exception as exc:    # a fault of ours: told, and the others of this turn are heard
                    self.loop.call_exception_handler({"message": "an origin's bytes were not taken", "exception": exc})

    cdef int _hear(self, Connection conn, bint ends) except -1:
        """`ends`: more than bytes were told of. The kernel tells of what is new once: what is left is asked for again.

        Where there is much, the first call acknowledges all of it. On this machine the sender then lets go of the pages while
        they are still queued here, and gets them back, warm, when the second call has read them; with one call for all, they
        are let go of here in the end, and the sender takes cold ones.
        """
        cdef int fd = conn.fd, broke = 0
        cdef Py_ssize_t more, got = recv(fd, self.room, INTAKE_FIRST, MSG_DONTWAIT)
        if got == INTAKE_FIRST:
            more = recv(fd, self.room + got, INTAKE_ROOM - got, MSG_DONTWAIT)
            if more > 0:
                got += more
            elif more == 0 or errno == EINTR:
                ends = True
            elif errno != EAGAIN:
                broke = errno           # told once: the next call would speak of a plain end
        if got > 0:
            conn._take_in(self.room, got)
            if broke:
                return self._over(conn, OSError(broke, "the connection broke")) if conn.intake is self else 0
            if (ends or got == INTAKE_ROOM) and conn.intake is self and self.conns.get(fd) is conn:
                self._watch(EPOLL_CTL_MOD, fd)
            return 0
        if got < 0 and errno == EAGAIN:
            return 0
        if got < 0 and errno == EINTR:
            return self._watch(EPOLL_CTL_MOD, fd)
        return self._over(conn, None if got == 0 else OSError(errno, "the connection broke"))

    cdef int _over(self, Connection conn, object error) except -1:
        cdef object transport = conn.transport
        conn._ended(error)
        self.drop(conn)
        transport.abort()
        return 0
