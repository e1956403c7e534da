# What processes that share the mapping agree by: one lock around everything that writes the structures, and a wake-up
# for each worker. Knows no record and no fill.
#
# The lock is robust: when its owner dies, whoever comes next is told. Nobody waits for it longer than LOCK_WAIT, and once
# somebody has waited in vain, nobody here waits at all until it is free again: a stopped owner costs a worker one wait.


cdef extern from *:
    """
    #include <errno.h>
    #include <pthread.h>
    #include <time.h>
    #include <unistd.h>

    /* 0: taken. EOWNERDEAD: taken, from a dead owner. Anything else: not taken. */
    static int cdn_mutex_wait(pthread_mutex_t* m, int ms) {
        struct timespec until;
        int e = pthread_mutex_trylock(m);
        if (e != EBUSY || ms == 0) return e;
    #if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 30)
        clockid_t clock = CLOCK_MONOTONIC;
    #else
        clockid_t clock = CLOCK_REALTIME;
    #endif
        clock_gettime(clock, &until);
        until.tv_nsec += (long)(ms % 1000) * 1000000;
        until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
    #if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 30)
        return pthread_mutex_clocklock(m, clock, &until);
    #else
        return pthread_mutex_timedlock(m, &until);
    #endif
    }
    static inline void cdn_wake(int fd) {
        uint64_t one = 1;
        while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}    /* full: it is awake anyway */
    }
    """
    int cdn_mutex_wait(pthread_mutex_t* m, int ms) noexcept nogil
    void cdn_wake(int fd) noexcept nogil

cdef enum:
    LOCK_WAIT = 50           # ms; a holder that was merely descheduled is back by then
    LONG_WAIT = 1000    # of what must not fail: purges, and giving back what a dead worker held


cdef inline WorkerSlot* worker_slot(Space* s, int worker) noexcept nogil:
    return <WorkerSlot*> (s.base + s.top.workers) + worker


class StoreBusyError(OSError):
    """A process that does not run holds the store's lock."""


cdef bint take_lock(Space* s, int patience) noexcept nogil:
    """The right to write the structures. False: somebody has held it for too long, or has died holding it."""
    cdef int error
    cdef int waited = 0
    if s.depth:
        s.depth += 1
        return True
    while True:
        error = cdn_mutex_wait(&s.top.mutex, 0 if s.doubtful and patience <= LOCK_WAIT else patience)
        if error == EOWNERDEAD:
            s.top.broken = 1
            pthread_mutex_consistent(&s.top.mutex)
            error = 0
        if error == 0 and (not s.top.broken or (s.me < 0 and mended(s))):
            break
        if error == 0:
            # whoever reaps the dead rebuilds: until then everything is a miss here, and what must not fail waits
            pthread_mutex_unlock(&s.top.mutex)
            if patience > LOCK_WAIT and waited < patience:
                waited += 1
                usleep(1000)
                continue
        else:
            s.doubtful = True
        add64_both(&s.top.lock_failures, 1)
        return False
    s.doubtful = False
    s.depth = 1
    cdn_step(STEP_LOCKED)
    if s.owing:
        s.owing = False
        pay_fills(s)
        if s.me >= 0:
            pay_pins(s)
    return True


cdef int must_lock(Space* s) except -1:
    """The same for what must not fail: StoreBusyError where it is not to be had in LONG_WAIT."""
    if not take_lock(s, LONG_WAIT):
        raise StoreBusyError("the memory store is held by a process that does not run: kill it, or try again")


cdef inline void drop_lock(Space* s) noexcept nogil:
    s.depth -= 1
    if s.depth == 0:
        pthread_mutex_unlock(&s.top.mutex)


cdef void wake_all(Space* s, uint64_t workers) noexcept nogil:
    """Those whose bits are set."""
    cdef int worker
    while workers:
        worker = trailing_zeros(workers)
        workers &= workers - 1
        if swap32_seq_cst(&worker_slot(s, worker).woken, 1) == 0:
            cdn_wake(s.wakers[worker])


cdef dict reported(Space* s, dict (*report)(Space* s)):
    """What a report says while nobody writes; StoreBusyError."""
    must_lock(s)
    try:
        return report(s)
    finally:
        drop_lock(s)
