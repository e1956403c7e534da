# What processes that share the mapping agree by: one lock around everything that writes the structures, and a wake-up
# for each worker. Knows no record and no fill.
#
# The lock is robust: when its owner dies, whoever comes next is told. Nobody waits for it longer than LOCK_WAIT, and once
# somebody has waited in vain, nobody here waits at all until it is free again: a stopped owner costs a worker one wait.


cdef extern from *:
    """
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    #include <time.h>
    #include <unistd.h>

    /* For tests: send oneself a signal at one of the marked steps of a critical section, the n-th time it is reached. */
    static int cdn_armed = 0, cdn_armed_signal = 0, cdn_armed_after = 0;
    static void cdn_reached(int step) {
        if (cdn_armed == step && --cdn_armed_after == 0) {
            cdn_armed = 0;
            kill(getpid(), cdn_armed_signal);
        }
    }
    #define cdn_step(n) do { if (__builtin_expect(cdn_armed != 0, 0)) cdn_reached(n); } while (0)
    static inline void cdn_arm(int step, int sig, int after) {
        cdn_armed_signal = sig; cdn_armed_after = after; cdn_armed = step;
    }

    static inline int cdn_mutex_init(pthread_mutex_t* m) {
        pthread_mutexattr_t a;
        int e = pthread_mutexattr_init(&a);
        if (e == 0) e = pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
        if (e == 0) e = pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
        return e == 0 ? pthread_mutex_init(m, &a) : e;
    }
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
    static inline void cdn_load_fence(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
    static inline void cdn_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    static inline uint32_t cdn_swap32(uint32_t* p, uint32_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
    static inline uint64_t cdn_add64(uint64_t* p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
    static inline void cdn_wake(int fd) {
        uint64_t one = 1;
        while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}    /* full: it is awake anyway */
    }
    static inline uint32_t cdn_and32(uint32_t* p, uint32_t v) { return __atomic_and_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline void cdn_raise64(uint64_t* p, uint64_t v) {
        uint64_t old = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (old < v && !__atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
    }
    static inline uint64_t cdn_or64(uint64_t* p, uint64_t v) { return __atomic_or_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline uint64_t cdn_and64(uint64_t* p, uint64_t v) { return __atomic_and_fetch(p, v, __ATOMIC_SEQ_CST); }
    """
    int EOWNERDEAD
    int cdn_mutex_init(pthread_mutex_t* m) noexcept nogil
    int cdn_mutex_wait(pthread_mutex_t* m, int ms) noexcept nogil
    int pthread_mutex_consistent(pthread_mutex_t* m) noexcept nogil
    int usleep(unsigned int us) noexcept nogil
    int pthread_mutex_unlock(pthread_mutex_t* m) noexcept nogil
    void cdn_step(int n) noexcept nogil
    void cdn_arm(int step, int sig, int after) noexcept nogil
    void cdn_fence() noexcept nogil
    void cdn_load_fence() noexcept nogil
    uint32_t cdn_swap32(uint32_t* p, uint32_t v) noexcept nogil
    uint64_t cdn_add64(uint64_t* p, uint64_t v) noexcept nogil
    void cdn_wake(int fd) noexcept nogil
    uint32_t cdn_and32(uint32_t* p, uint32_t v) noexcept nogil
    void cdn_raise64(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t cdn_or64(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t cdn_and64(uint64_t* p, uint64_t v) noexcept nogil

cdef enum Step:             # of critical sections, where a test may stop or kill the process
    STEP_COPIED = 1
    STEP_MOVED
    STEP_COMPACTED
    STEP_SLOT_MADE
    STEP_POINTED
    STEP_EVICTING
    STEP_RETIRED
    STEP_CARVED
    STEP_GIVEN
    STEP_BLOCK_TAKEN
    STEP_BLOCK_GIVEN
    STEP_LOCKED
    STEP_FILL_BEGUN
    STEP_FILL_STARTED
    STEP_FILL_GROWN
    STEP_SETTLED
    STEP_FILL_FREED
    STEP_PINNED
    STEP_SEGMENT_TAKEN
    STEP_SPLIT
    STEP_EXTENDED
    STEP_LISTED
    STEP_TABLE_TAKEN
    STEP_RING_TURNED
    STEP_GHOSTS_SPLIT
    STEP_VOIDED
    STEP_BOUNCED
    STEPS = STEP_BOUNCED

cdef enum:
    LOCK_WAIT = 50           # ms; a holder that was merely descheduled is back by then
    LONG_WAIT = 1000    # of what must not fail: purges, and giving back what a dead worker held


cdef inline WorkerSlot* worker_slot(Space* s, int worker) noexcept nogil:
    return <WorkerSlot*> (s.base + s.top.workers) + worker


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
        cdn_add64(&s.top.lock_failures, 1)
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


cdef inline void drop_lock(Space* s) noexcept nogil:
    s.depth -= 1
    if s.depth == 0:
        pthread_mutex_unlock(&s.top.mutex)


cdef void wake_all(Space* s, uint64_t workers) noexcept nogil:
    """Those whose bits are set."""
    cdef int worker
    while workers:
        worker = cdn_ctz(workers)
        workers &= workers - 1
        if cdn_swap32(&worker_slot(s, worker).woken, 1) == 0:
            cdn_wake(s.wakers[worker])
