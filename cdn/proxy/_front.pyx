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
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.uio cimport iovec

from cdn._core cimport (
    CHUNK_BAD, CHUNK_DATA, CHUNK_END, CHUNK_MORE, Chunked, F_EXPECT, F_UPGRADE, FieldSpan, MAX_FIELDS,
    RequestHead, chunked_next, scan_error_name, scan_error_status, scan_request,
)
from cdn.proxy._lane cimport Answer, HitLane, NameSet
from cdn.proxy._log cimport HitLog
from cdn.store.layout cimport Record

cdef extern from "<time.h>" nogil:
    int CLOCK_MONOTONIC_COARSE

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    struct linger:
        int l_onoff
        int l_linger
    int getsockopt(int fd, int level, int name, void* value, unsigned int* n)
    int setsockopt(int fd, int level, int name, const void* value, unsigned int n)
    int shutdown(int fd, int how)
    int SHUT_WR
    int SOL_SOCKET
    int SO_LINGER
    int SO_SNDBUF
    ssize_t send(int fd, const void* buf, size_t n, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    int MSG_MORE

cdef extern from *:
    """
    static inline uint32_t board_load(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline void board_store(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline uint32_t board_add(uint32_t* p, uint32_t v) { return __atomic_add_fetch(p, v, __ATOMIC_RELAXED); }
    """
    uint32_t board_load(const uint32_t* p) noexcept nogil
    void board_store(uint32_t* p, uint32_t v) noexcept nogil
    uint32_t board_add(uint32_t* p, uint32_t v) noexcept nogil

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP

cdef extern from "<linux/tcp.h>" nogil:
    struct tcp_info:
        uint32_t tcpi_min_rtt   # µs
    int TCP_INFO

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


include "front/board.pyx"
include "front/wheel.pyx"
include "front/connection.pyx"
include "front/sending.pyx"
include "front/holding.pyx"
include "front/stream.pyx"
