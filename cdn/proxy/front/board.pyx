# Part of cdn/proxy/_front.pyx: how many connections each worker of a node has, in memory that all of them share.
#
# Two numbers for each worker: `open`, which it writes itself, and `coming`, connections that were given to it and that it
# has not taken yet. Decides who has more than its share; must not know how a connection is given. Nothing is locked: a number
# that is a moment old lets one connection land elsewhere.

cdef enum:
    BOARD_LINE = 16     # uint32_t, a cache line for each worker
    SLACK = 8           # connections that a worker may have beyond the one with fewest,
    SLACK_PART = 8      # and this part of what that one has


cdef class Board:

    def __cinit__(self, int workers):
        cdef void* base
        if not 1 <= workers <= 64:
            raise ValueError("a board has room for 1 to 64 workers")
        self.workers = workers
        self.me = -1
        base = mmap(NULL, workers * BOARD_LINE * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
        if base == MAP_FAILED:
            raise MemoryError()
        self.words = <uint32_t*> base

    def __dealloc__(self):
        if self.words != NULL:
            munmap(self.words, self.workers * BOARD_LINE * sizeof(uint32_t))

    def sit(self, int worker):
        if not 0 <= worker < self.workers:
            raise ValueError("no such worker")
        self.me = worker
        self.tell(0)

    cdef void tell(self, uint32_t open) noexcept nogil:
        if self.me >= 0:
            store32_relaxed(self.words + self.me * BOARD_LINE, open)

    cdef int64_t load_of(self, int worker) noexcept nogil:
        return <int64_t> load32_relaxed(self.words + worker * BOARD_LINE) + <int32_t> load32_relaxed(self.words + worker * BOARD_LINE + 1)

    cdef int lighter(self) noexcept nogil:
        """The worker with fewest connections, if this one has more than its share; else -1."""
        cdef int64_t mine
        cdef int64_t least = -1
        cdef int64_t here
        cdef int best = -1
        cdef int i
        if self.me < 0:
            return -1
        mine = self.load_of(self.me)
        if mine < SLACK:
            return -1
        for i in range(self.workers):
            if i == self.me or self.shunned >> i & 1:
                continue
            here = self.load_of(i)
            if best < 0 or here < least:
                best = i
                least = here
        return best if best >= 0 and mine >= least + SLACK + least // SLACK_PART else -1

    def lightest(self):
        cdef int found = self.lighter()
        return None if found < 0 else found

    def coming(self, int worker, int more=0):
        if not 0 <= worker < self.workers:
            raise ValueError("no such worker")
        return <int32_t> add32_relaxed(self.words + worker * BOARD_LINE + 1, <uint32_t> more)

    def open(self, int worker):
        if not 0 <= worker < self.workers:
            raise ValueError("no such worker")
        return load32_relaxed(self.words + worker * BOARD_LINE)

    def shun(self, int worker, bint on):
        if not 0 <= worker < self.workers:
            raise ValueError("no such worker")
        if on:
            self.shunned |= <uint64_t> 1 << worker
        else:
            self.shunned &= ~(<uint64_t> 1 << worker)
