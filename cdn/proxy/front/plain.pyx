# Part of cdn/proxy/_front.pyx: the transport of a connection without TLS.
#
# It means what asyncio's transports mean, to the Connection alone: uvloop's makes a dozen system calls for a connection
# that comes and goes, an object and a copy for each segment, and has to be made before the first byte can be looked at. Knows a descriptor and what waits to be written; must not know what a request is.


@cython.final
cdef class Plain:
    """Told of events once each (EPOLLET): what is not read to its end is asked for again."""

    def __cinit__(self, Entrance entrance, int fd, Connection connection):
        self.entrance = entrance
        self.fd = fd
        self.connection = connection
        self.reading = True
        self.high = WRITE_HIGH
        self.low = WRITE_HIGH // 4

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)

    # --- what the entrance calls ---

    cdef int happens(self, uint32_t events) except -1:
        if events & (EPOLLOUT | EPOLLERR | EPOLLHUP) and self.waiting:
            self._flush()
        if self.reading:
            self.read(events & ~<uint32_t> (EPOLLIN | EPOLLOUT) != 0)
        return 0

    # hot
    cdef int read(self, bint ends) except -1:
        """What has arrived, as far as the connection wants it. `ends`: the kernel told of more than bytes."""
        cdef ssize_t got
        cdef int turn = 0
        while self.reading:
            if turn == READS:
                return self.watch()         # the others have their turn, and we hear of the rest again
            turn += 1
            got = recv(self.fd, self.entrance.room, ROOM, MSG_DONTWAIT)
            if got > 0:
                self.connection.take_in(self.entrance.room, got, None)
                if got == ROOM or ends:
                    continue
                return 0
            if got < 0 and errno == EINTR:
                continue
            if got < 0 and errno == EAGAIN:
                return 0
            self._stop(got)
        return 0

    cdef int _stop(self, ssize_t got) except -1:
        """The peer has shut its side (0), or the connection broke."""
        if got < 0:
            self.lose(OSError(errno, "the connection broke"))
            return 0
        self.reading = False
        self.ended = True
        if not self.connection.eof_received():
            self.close()
        return 0

    cdef int watch(self) except -1:
        """Hear of what happens from now on, and of what has happened already."""
        cdef epoll_event event
        cdef int what = EPOLL_CTL_MOD if self.watched else EPOLL_CTL_ADD
        if self.lost:
            return 0
        event.data.u64 = self.fd
        event.events = EPOLLIN | EPOLLRDHUP | <uint32_t> EPOLLET | (EPOLLOUT if self.full else 0)
        if epoll_ctl(self.entrance.ep, what, self.fd, &event) < 0:
            self.lose(OSError(errno, "the connection cannot be watched"))
            return 0
        self.watched = True
        return 0

    cdef int lose(self, object error) except -1:
        """End it at once, whatever waits; the connection hears of it when whatever it does now is done."""
        if not self.lost:
            self.closing = True
            self.lost = True
            self.reading = False
            self.entrance.bury(self, error)
        return 0

    cdef int _flush(self) except -1:
        cdef msghdr message
        cdef iovec iov[PIECES]
        cdef ssize_t sent
        cdef size_t n
        cdef bytes piece
        cdef int count
        while self.waiting and not self.lost:
            memset(&message, 0, sizeof(msghdr))
            count = 0
            for piece in self.queue:
                n = self.skip if count == 0 else 0
                iov[count].iov_base = PyBytes_AS_STRING(piece) + n
                iov[count].iov_len = PyBytes_GET_SIZE(piece) - n
                count += 1
                if count == PIECES:
                    break
            message.msg_iov = iov
            message.msg_iovlen = count
            sent = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    break
                return self.lose(OSError(errno, "the connection broke"))
            self.waiting -= sent
            sent += self.skip
            while self.queue and sent >= PyBytes_GET_SIZE(<bytes> self.queue[0]):
                sent -= PyBytes_GET_SIZE(<bytes> self.queue.popleft())
            self.skip = sent
        if self.slow and self.waiting <= self.low and not self.lost:
            self.slow = False
            self.connection.resume_writing()
        if self.waiting == 0 and not self.lost:
            if self.closing:
                self.lose(None)
            elif self.shut:
                shutdown(self.fd, SHUT_WR)
        return 0

    cdef int _slow_down(self) except -1:
        if not self.slow and self.waiting > self.high:
            self.slow = True
            self.connection.pause_writing()
        return 0

    # --- asyncio's names for what the connection asks ---

    def write(self, bytes data not None):
        cdef ssize_t sent = 0
        cdef size_t n = PyBytes_GET_SIZE(data)
        if self.lost or self.shut or n == 0:
            return
        if self.waiting == 0:
            sent = send(self.fd, PyBytes_AS_STRING(data), n, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent == <ssize_t> n:
                return
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.lose(OSError(errno, "the connection broke"))
                    return
                sent = 0
            self.skip = sent
        if self.queue is None:
            self.queue = deque()
        self.queue.append(data)
        self.waiting += n - sent
        if not self.full:
            self.full = True        # who has been full once is told of room from then on
            self.watch()
        self._slow_down()

    def write_eof(self):
        if not self.shut and not self.lost:
            self.shut = True
            if self.waiting == 0:
                shutdown(self.fd, SHUT_WR)

    def get_write_buffer_size(self):
        return self.waiting

    def set_write_buffer_limits(self, size_t high):
        self.high = high
        self.low = high // 4
        self._slow_down()

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        if not self.reading and not self.closing and not self.ended:
            self.reading = True
            self.watch()

    def close(self):
        """Once what waits has left."""
        if not self.closing:
            self.closing = True
            self.reading = False
            if self.waiting == 0:
                self.lose(None)

    def abort(self):
        self.lose(None)
