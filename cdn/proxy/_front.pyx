"""The front owns a client's socket and is the only judge of framing.

It cuts the byte stream into requests, refuses what is ambiguous, offers each request to the lanes and gives what they
decline to the exchange as one `ClientStream`, one at a time and in order. Deadlines, limits, keep-alive and close
are decided here. It must not know cache rules, routes or origins.

    READING --head--> lane answers --small--> READING
                           |      --large--> SENDING --> READING
                      second lane --> BUSY --answered--> READING
                      exchange --> BUSY --answered--> READING
                                        --body left--> DRAINING --> READING or LINGERING
                                        --101--------> TUNNEL
    any --fault--> answer with close --> LINGERING --> CLOSED
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.errno cimport EAGAIN, EBADF, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.uio cimport iovec
from posix.unistd cimport close

from collections import deque

from cdn._atomics cimport add32_relaxed, load32_relaxed, store32_relaxed
from cdn._core cimport (
    CHUNK_BAD, CHUNK_DATA, CHUNK_END, CHUNK_MORE, Chunked, F_EXPECT, F_UPGRADE, FieldSpan, MAX_FIELDS,
    RequestHead, chunked_next, scan_error_name, scan_error_status, scan_request,
)
from cdn._system cimport (
    AF_INET, AF_INET6, CLOCK_MONOTONIC_COARSE, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP,
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, INET6_ADDRSTRLEN, IPPROTO_TCP, MSG_DONTWAIT, MSG_MORE,
    MSG_NOSIGNAL, MSG_PEEK, SHUT_WR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, SO_LINGER, SO_SNDBUF, TCP_INFO, accept4,
    epoll_create1, epoll_ctl, epoll_event, epoll_wait, getpeername, getsockopt, inet_ntop, linger, msghdr, recv, send,
    sendmsg, setsockopt, shutdown, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t, tcp_info,
)
from cdn.proxy._lane cimport Answer, HitLane, NameSet
from cdn.proxy._log cimport HitLog
from cdn.store._memory cimport Loose, loosened
from cdn.store.layout cimport Record

cdef extern from "Python.h":
    str PyUnicode_FromString(const char* text)

cdef enum:
    SLICE = 256 << 10           # the most that one send takes from the store
    TURN = 1 << 20              # and that one connection sends before the loop has its turn
    NOTICE = 16 << 10           # copied into the transport to be told when the socket takes more
    BODY_WINDOW = 256 << 10     # request body bytes that wait for the exchange
    PENDING_WINDOW = 64 << 10   # bytes of pipelined requests that wait for their turn
    WRITE_HIGH = 256 << 10
    TLS_WRITE_HIGH = 1          # the transport below has a buffer of its own; of 0, uvloop would say that it is full when empty
    NEAR = 50                   # µs there and back within which a client runs on this machine
    NEAR_BODY = 512 << 10       # what is longer leaves for such a client through
    NEAR_BUFFER = 128 << 10     # a buffer of so much (the kernel takes it twice)
    DRAIN_BOUND = 256 << 10     # of an unread request body
    LINGER = 2000               # ms
    FRESH = 1000                # ms that a connection has for its first request once the node drains
    GRACE = 5000                # ms between two looks at a transfer's rate
    ROOM = 64 << 10             # bytes that one recv takes
    READS = 4                   # and so often in one connection's turn
    PIECES = 16                 # of what waits in a transport, for one call
    HEARD = 64                  # events that a worker's plain connections have before the loop has its turn
    ACCEPTS = 32                # and new connections of one listener
    SHORTEST = 5000             # ns: shorter pauses are the loop's own, and nobody sleeps in them
    REMEMBERED = 16             # pauses, roughly, that the mean of them is of
    LONG_PAUSES = 4             # times of looking that the longest of them counts
    DOOR = 1 << 30              # an event's number is a listener's, not a descriptor

cdef double BREATH = 0.05       # seconds until a listener is asked again after a refusal for want of descriptors

# One scratch head a process: a head is scanned and used up within one callback.
cdef RequestHead scanned


cdef inline int64_t monotonic() noexcept nogil:
    """ms, to a few ms; for deadlines."""
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t)
    return <int64_t>t.tv_sec * 1000 + t.tv_nsec // 1000000


cdef int64_t microseconds() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000 + t.tv_nsec // 1000


cdef inline int64_t nanoseconds() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


include "front/board.pyx"
include "front/lookout.pyx"
include "front/wheel.pyx"
include "front/entrance.pyx"
include "front/plain.pyx"
include "front/connection.pyx"
include "front/request.pyx"
include "front/body.pyx"
include "front/pace.pyx"
include "front/sending.pyx"
include "front/holding.pyx"
include "front/stream.pyx"
