"""Whole lines between the loop that says them and the thread that writes them.

Decides when the thread has something to do and how much one write takes. While it has nothing but lines to write, the
thread never asks for the GIL, and it offers its core to others after each piece: on one core with the loop it would else
hold up requests for as long as a batch takes. It must not know what a line says, nor which file it is for.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcpy, memrchr
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport nanosleep, timespec
from posix.unistd cimport write

from cdn._system cimport (
    pthread_cond_destroy, pthread_cond_init, pthread_cond_signal, pthread_cond_t, pthread_cond_wait, pthread_mutex_destroy,
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock, sched_yield,
)

cdef enum:
    FIRST = 64 << 10            # bytes of a buffer when it is made
    KEPT = 256 << 10            # one that has grown beyond that is given back once nothing more comes


# hot
cdef size_t _whole(const char* lines, size_t n, size_t most) noexcept nogil:
    """Bytes for one write: whole lines, as many as fit into `most`; a longer one alone."""
    cdef const char* end
    if n <= most:
        return n
    end = <const char*>memrchr(lines, c"\n", most)
    if end == NULL:
        end = <const char*>memchr(lines, c"\n", n)
    return n if end == NULL else end - lines + 1


def whole_lines(bytes lines not None, size_t most) -> int:
    """`_whole`, for its test."""
    return _whole(PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines), most)


cdef uint64_t _count(const char* lines, size_t n) noexcept nogil:
    cdef uint64_t count = 0
    cdef size_t i
    for i in range(n):
        count += lines[i] == c"\n"
    return count


cdef struct Buffer:
    char* data
    size_t used
    size_t room


cdef void _give_back(Buffer* b) noexcept nogil:
    if b.room:
        munmap(b.data, b.room)
    b.data = NULL
    b.used = b.room = 0


cdef Buffer _spare(Buffer* b) noexcept nogil:
    """An empty buffer's memory where it is more than is kept, else none."""
    cdef Buffer taken
    taken.data = NULL
    taken.used = taken.room = 0
    if b.room > KEPT:
        taken = b[0]
        b.data = NULL
        b.room = 0
    return taken


cdef bint _append(Buffer* b, const char* data, size_t n) noexcept nogil:
    """False: no memory, and nothing has changed."""
    cdef size_t room = b.room if b.room else FIRST
    cdef char* more
    while room < b.used + n:
        room *= 2
    if room != b.room:
        # not from the heap, which would keep what a burst has taken
        more = <char*>mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if more == MAP_FAILED:
            return False
        if b.used:
            memcpy(more, b.data, b.used)
        if b.room:
            munmap(b.data, b.room)
        b.data = more
        b.room = room
    memcpy(b.data + b.used, data, n)
    b.used += n
    return True


cdef class Spool:
    """Holds at most `most` bytes, those that are being written included. One thread is in `serve`, any thread may call
    the rest.
    """

    cdef pthread_mutex_t lock
    cdef pthread_cond_t news
    cdef Buffer coming, leaving
    cdef size_t at              # of `leaving`, what has been written
    cdef size_t most
    cdef bint told, ended
    cdef bint torn              # what a failed write has left ends inside a line
    cdef uint64_t dropped, lost
    cdef readonly uint64_t batches  # written whole

    def __cinit__(self, size_t most):
        self.most = most
        pthread_mutex_init(&self.lock, NULL)
        pthread_cond_init(&self.news, NULL)

    def __dealloc__(self):
        _give_back(&self.coming)
        _give_back(&self.leaving)
        pthread_cond_destroy(&self.news)
        pthread_mutex_destroy(&self.lock)

    def add(self, bytes lines not None) -> bool:
        """Take whole lines; False when there was no room and they are dropped. Never blocks for longer than a copy."""
        cdef const char* data = PyBytes_AS_STRING(lines)
        cdef size_t n = PyBytes_GET_SIZE(lines)
        cdef bint taken
        pthread_mutex_lock(&self.lock)
        taken = (not self.ended and self.coming.used + self.leaving.used + n <= self.most
                 and _append(&self.coming, data, n))
        if not taken:
            self.dropped += _count(data, n)
        elif self.coming.used == n:
            pthread_cond_signal(&self.news)
        pthread_mutex_unlock(&self.lock)
        return taken

    def tell(self) -> None:
        """Have `serve` return when it has written what it is at, or at once where it has nothing."""
        pthread_mutex_lock(&self.lock)
        self.told = True
        pthread_cond_signal(&self.news)
        pthread_mutex_unlock(&self.lock)

    def end(self) -> None:
        """`tell`, and take nothing more."""
        pthread_mutex_lock(&self.lock)
        self.ended = True
        pthread_mutex_unlock(&self.lock)
        self.tell()

    def serve(self, int fd, size_t piece, double gather, size_t hurry) -> int:
        """Write lines to `fd`, at most `piece` bytes at once, until told (0) or until a write fails (its errno).

        After its first line a batch waits for more for `gather` seconds, or less when `hurry` bytes are there; 0: no
        waiting. What a failed write has left is written next, unless `give_up` is called.
        """
        cdef timespec wait
        cdef bint hurried
        cdef int fault = 0
        wait.tv_sec = <long>gather
        wait.tv_nsec = <long>((gather - <long>gather) * 1e9)
        with nogil:
            while True:
                if self.leaving.used == 0:
                    pthread_mutex_lock(&self.lock)
                    while self.coming.used == 0 and not self.told:
                        pthread_cond_wait(&self.news, &self.lock)
                    if self.told:
                        self.told = False
                        pthread_mutex_unlock(&self.lock)
                        break
                    hurried = self.coming.used >= hurry
                    pthread_mutex_unlock(&self.lock)
                    if gather > 0 and not hurried:
                        nanosleep(&wait, NULL)
                    self._swap()
                fault = self._write_out(fd, piece)
                if fault:
                    break
                self._emptied()
        return fault

    def flush(self, int fd, size_t piece) -> int:
        """Write all that is there, for the thread that serves; 0, or the errno of a write that failed."""
        cdef int fault = 0
        with nogil:
            while fault == 0:
                if self.leaving.used == 0:
                    self._swap()
                    if self.leaving.used == 0:
                        break
                fault = self._write_out(fd, piece)
                if fault == 0:
                    self._emptied()
        return fault

    def give_up(self) -> int:
        """Count the lines that a failed write has left as lost; how many. A line that is cut by that is ended first by
        the next write."""
        cdef uint64_t lines = _count(self.leaving.data + self.at, self.leaving.used - self.at)
        if self.at > 0:
            self.torn = self.leaving.data[self.at - 1] != c"\n"
        pthread_mutex_lock(&self.lock)
        self.lost += lines
        self.leaving.used = 0
        pthread_mutex_unlock(&self.lock)
        return lines

    def reopened(self) -> None:
        """What is written from now on stands behind nothing of ours."""
        self.torn = False

    def counters(self) -> dict:
        """`dropped` and `lost` lines, `waiting` bytes."""
        pthread_mutex_lock(&self.lock)
        dropped, lost, waiting = self.dropped, self.lost, self.coming.used + self.leaving.used
        pthread_mutex_unlock(&self.lock)
        return {"dropped": dropped, "lost": lost, "waiting": waiting}

    cdef void _swap(self) noexcept nogil:
        """What has come leaves."""
        cdef Buffer empty = self.leaving
        pthread_mutex_lock(&self.lock)
        self.leaving = self.coming
        self.coming = empty
        pthread_mutex_unlock(&self.lock)
        self.at = 0

    cdef void _emptied(self) noexcept nogil:
        cdef Buffer left, came
        left.room = came.room = 0
        pthread_mutex_lock(&self.lock)
        self.leaving.used = 0
        if self.coming.used == 0:   # else the next batch would have to get the same from the kernel, page by page
            left = _spare(&self.leaving)
            came = _spare(&self.coming)
        pthread_mutex_unlock(&self.lock)
        _give_back(&left)
        _give_back(&came)
        self.batches += 1

    cdef int _write_out(self, int fd, size_t piece) noexcept nogil:
        cdef ssize_t n
        cdef const char* rest
        while self.torn:
            if write(fd, b"\n", 1) == 1:
                self.torn = False
            elif errno != EINTR:
                return errno
        while self.at < self.leaving.used:
            rest = self.leaving.data + self.at
            n = write(fd, rest, _whole(rest, self.leaving.used - self.at, piece))
            if n < 0:
                if errno == EINTR:
                    continue
                return errno
            self.at += n
            sched_yield()
        return 0
