# Part of cdn/proxy/_front.pyx: where connections without TLS come in, and where the bytes of all of them arrive.
#
# One epoll a worker, which the loop watches, and one buffer. A connection is read as soon as it is accepted: what says
# all it wants in its first segment is answered and gone before anything was set up for it. Decides who stays here;
# must not know what is asked.


@cython.final
cdef class Entrance:

    def __cinit__(self, loop, Lookout lookout not None):
        self.loop = loop
        self.lookout = lookout
        self.doors = []
        self.ended = []
        self.room = <char*> malloc(ROOM)
        self.ep = epoll_create1(EPOLL_CLOEXEC)
        if self.room == NULL:
            raise MemoryError()
        if self.ep < 0:
            raise OSError(errno, "no epoll descriptor")
        loop.add_reader(self.ep, self._ready)

    def __dealloc__(self):
        cdef int fd
        for fd in range(self.places):
            Py_XDECREF(self.plains[fd])
        free(self.plains)
        free(self.room)
        if self.ep >= 0:
            close(self.ep)

    # --- listeners ---

    def listen(self, sock, Front front not None):
        """Accept from this socket, which is ours from now on. OSError."""
        self.doors.append((sock, front))
        self._watch_door(EPOLL_CTL_ADD, len(self.doors) - 1)

    def end(self):
        """Accept nobody but who is in the queues now."""
        cdef int n
        for n in range(len(self.doors)):
            while self._accept(n, ACCEPTS) == ACCEPTS:
                pass
        self.shut()

    def shut(self):
        """Accept nobody."""
        doors, self.doors = self.doors, []
        for sock, _ in doors:
            epoll_ctl(self.ep, EPOLL_CTL_DEL, sock.fileno(), NULL)
            sock.close()

    def close(self):
        """Behind `Front.abort`, once the loop has had a turn."""
        self.shut()
        if self.ep >= 0:
            self._bury()
            self.loop.remove_reader(self.ep)
            close(self.ep)
            self.ep = -1

    cdef int _watch_door(self, int what, int n) except -1:
        cdef epoll_event event
        event.data.u64 = DOOR | <uint64_t> n
        event.events = EPOLLIN | <uint32_t> EPOLLET
        if epoll_ctl(self.ep, what, self.doors[n][0].fileno(), &event) < 0:
            raise OSError(errno, "a listener cannot be watched")
        return 0

    def _again(self, int n):
        if n < len(self.doors):
            self._watch_door(EPOLL_CTL_MOD, n)

    cdef int _accept(self, int n, int most) except -1:
        """Up to so many from a listener's queue; how many there were."""
        cdef sockaddr_storage peer
        cdef socklen_t size
        cdef int taken = 0, fd
        cdef Front front
        sock, front = self.doors[n]
        cdef int listener = sock.fileno()
        while taken < most:
            size = sizeof(sockaddr_storage)
            fd = accept4(listener, <sockaddr*> &peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                taken += 1
                if front.give is not None and front.census.board.lighter() >= 0 and front.give(fd):
                    close(fd)
                else:
                    self._enter(front, fd, &peer)
            elif errno == EAGAIN or errno == EBADF or errno == EINVAL:
                return taken
            elif errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                self.loop.call_later(BREATH, self._again, n)    # who waits in the queue waits on
                return taken
            else:
                taken += 1                  # it left while it was queued
        return taken

    # --- connections ---

    def take(self, Front front not None, int fd):
        """Serve a connection that another worker has accepted; its descriptor is ours from now on."""
        cdef sockaddr_storage peer
        cdef socklen_t size = sizeof(sockaddr_storage)
        if self.ep < 0 or getpeername(fd, <sockaddr*> &peer, &size) < 0:
            close(fd)           # the client has left
            return
        self._enter(front, fd, &peer)

    cdef int _enter(self, Front front, int fd, sockaddr_storage* peer) except -1:
        cdef str address = address_of(peer)
        cdef Connection c
        cdef Plain plain
        cdef bint busy = self.busy
        if not front.census.enter(address):
            front.census.leave(address)
            close(fd)
            return 0
        c = Connection.__new__(Connection, front)
        plain = Plain.__new__(Plain, self, fd, c)
        c.transport = plain
        c.address = address
        c.fd = fd
        front.connections.add(c)
        self._keep(fd, plain)
        self.busy = True
        try:
            plain.read(False)
            if not plain.lost:
                if not plain.watched:
                    plain.watch()
                if c.slot == 0 and not plain.closing:
                    c._due(monotonic() + (FRESH if front.draining else front.idle_timeout))
        except Exception as fault:
            self._fault(plain, fault)
        self.busy = busy
        if self.ended:
            self._bury()        # nobody but this one is worked with, whoever has called
        return 0

    cdef int _keep(self, int fd, Plain plain) except -1:
        cdef int more
        cdef PyObject** plains
        if fd >= self.places:
            more = max(2 * self.places, fd + 1, 64)
            plains = <PyObject**> realloc(self.plains, more * sizeof(PyObject*))
            if plains == NULL:
                raise MemoryError()
            memset(plains + self.places, 0, (more - self.places) * sizeof(PyObject*))
            self.plains = plains
            self.places = more
        Py_INCREF(plain)
        self.plains[fd] = <PyObject*> plain
        return 0

    def _ready(self):
        cdef epoll_event events[HEARD]
        cdef uint64_t what
        cdef int i, count = epoll_wait(self.ep, events, HEARD, 0)
        if count <= 0:
            return
        self.lookout.begin()
        self.busy = True
        try:
            for i in range(count):
                what = events[i].data.u64
                if what & DOOR:
                    what -= DOOR
                    if <int> what < len(self.doors) and self._accept(what, ACCEPTS) == ACCEPTS:
                        self._watch_door(EPOLL_CTL_MOD, what)
                elif <int> what < self.places and self.plains[what] != NULL:
                    # Where a descriptor was closed and given out again within this turn, the new one hears too much: it
                    # finds nothing to read.
                    self._hear(<Plain> self.plains[what], events[i].events)
                if self.ended:
                    self._bury()
        finally:
            self.busy = False
        self.lookout.end()

    cdef int _hear(self, Plain plain, uint32_t events) except -1:
        try:
            plain.happens(events)
        except Exception as fault:
            self._fault(plain, fault)
        return 0

    cdef int _fault(self, Plain plain, object fault) except -1:
        """A fault of ours: told, its connection ends, and the others of this turn are heard."""
        self.loop.call_exception_handler({"message": "a client's bytes were not taken", "exception": fault})
        return plain.lose(fault)

    # --- their ends ---

    cdef int bury(self, Plain plain, object error) except -1:
        """Tell the connection that it is over, and close its descriptor, as soon as nobody works with it."""
        self.ended.append((plain, error))
        if not self.busy and len(self.ended) == 1:
            self.loop.call_soon(self._bury_all)
        return 0

    def _bury_all(self):
        self._bury()

    cdef int _bury(self) except -1:
        cdef Plain plain
        while self.ended:
            ended, self.ended = self.ended, []
            for plain, error in ended:
                try:
                    plain.connection.connection_lost(error)
                except Exception as fault:
                    self.loop.call_exception_handler({"message": "a connection did not end well", "exception": fault})
                self.plains[plain.fd] = NULL
                Py_DECREF(plain)
                close(plain.fd)
                plain.fd = -1
                plain.queue = None
                plain.connection = None
        return 0


cdef str address_of(sockaddr_storage* peer):
    cdef char text[INET6_ADDRSTRLEN]
    cdef const void* at
    if peer.ss_family == AF_INET:
        at = &(<sockaddr_in*> peer).sin_addr
    elif peer.ss_family == AF_INET6:
        at = &(<sockaddr_in6*> peer).sin6_addr
    else:
        return "unix"
    if inet_ntop(peer.ss_family, at, text, sizeof(text)) == NULL:
        return "unix"
    return PyUnicode_FromString(text)
