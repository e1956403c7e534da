"""What Linux and its libc offer beyond Cython's own `libc` and `posix`: sockets, epoll, locks, clocks.

Declarations, each once for all modules, and the lock that processes share. A call that is missing belongs here.
"""

from libc.stdint cimport uint32_t, uint64_t
from posix.uio cimport iovec

cdef extern from "<time.h>" nogil:
    int CLOCK_MONOTONIC_COARSE  # to a few ms
    int CLOCK_BOOTTIME          # goes on while the machine sleeps

cdef extern from "<errno.h>" nogil:
    int EOWNERDEAD

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_mutexattr_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_condattr_t:
        pass
    int pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_mutex_consistent(pthread_mutex_t* mutex)
    int pthread_cond_init(pthread_cond_t* cond, const pthread_condattr_t* attributes)
    int pthread_cond_destroy(pthread_cond_t* cond)
    int pthread_cond_wait(pthread_cond_t* cond, pthread_mutex_t* mutex)
    int pthread_cond_signal(pthread_cond_t* cond)

cdef extern from *:
    """
    #include <pthread.h>

    static inline int cdn_shared_mutex_init(pthread_mutex_t* m) {
        pthread_mutexattr_t a;
        int e = pthread_mutexattr_init(&a);
        if (e == 0) e = pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
        if (e == 0) e = pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
        return e == 0 ? pthread_mutex_init(m, &a) : e;
    }
    """
    # Of all processes that map it, and robust: who takes it next is told of its owner's death. 0 or an errno.
    int shared_mutex_init "cdn_shared_mutex_init"(pthread_mutex_t* m) noexcept nogil

cdef extern from "<sys/epoll.h>" nogil:
    enum: EPOLL_CLOEXEC
    enum: EPOLL_CTL_ADD
    enum: EPOLL_CTL_DEL
    enum: EPOLL_CTL_MOD
    enum: EPOLLIN
    enum: EPOLLOUT
    enum: EPOLLERR
    enum: EPOLLHUP
    enum: EPOLLRDHUP
    enum: EPOLLET
    union epoll_data_t:
        int fd
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int ep, int what, int fd, epoll_event* event)
    int epoll_wait(int ep, epoll_event* events, int most, int timeout)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    enum: AF_INET
    enum: AF_INET6
    enum: SHUT_WR
    enum: SOL_SOCKET
    enum: SO_LINGER
    enum: SO_SNDBUF
    enum: SOCK_NONBLOCK
    enum: SOCK_CLOEXEC
    enum: MSG_DONTWAIT
    enum: MSG_MORE
    enum: MSG_NOSIGNAL
    enum: MSG_PEEK
    struct sockaddr:
        pass
    struct sockaddr_storage:
        int ss_family
    struct linger:
        int l_onoff
        int l_linger
    struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    int accept4(int fd, sockaddr* peer, socklen_t* size, int flags)
    int getpeername(int fd, sockaddr* peer, socklen_t* size)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)
    int shutdown(int fd, int how)

# libc's are points where a thread may be cancelled: in a process with several, each call says so with two locked
# instructions. Nobody cancels ours.
cdef extern from * nogil:
    """
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #if defined(SYS_recvfrom) && defined(SYS_sendto) && defined(SYS_sendmsg)
    static inline ssize_t cdn_recv(int fd, void* buf, size_t n, int flags) {
        return syscall(SYS_recvfrom, fd, buf, n, flags, NULL, NULL);
    }
    static inline ssize_t cdn_send(int fd, const void* buf, size_t n, int flags) {
        return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
    }
    static inline ssize_t cdn_sendmsg(int fd, const struct msghdr* message, int flags) {
        return syscall(SYS_sendmsg, fd, message, flags);
    }
    #else
    #define cdn_recv recv
    #define cdn_send send
    #define cdn_sendmsg sendmsg
    #endif
    """
    ssize_t recv "cdn_recv" (int fd, void* buf, size_t n, int flags)
    ssize_t send "cdn_send" (int fd, const void* buf, size_t n, int flags)
    ssize_t sendmsg "cdn_sendmsg" (int fd, const msghdr* message, int flags)

cdef extern from "<netinet/in.h>" nogil:
    enum: IPPROTO_TCP
    enum: INET6_ADDRSTRLEN
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        in_addr sin_addr
    struct sockaddr_in6:
        in6_addr sin6_addr

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)

cdef extern from "<linux/tcp.h>" nogil:
    enum: TCP_INFO
    struct tcp_info:
        uint32_t tcpi_min_rtt   # µs
