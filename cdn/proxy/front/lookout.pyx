# Part of cdn/proxy/_front.pyx: whether a worker that has nothing to do looks for more before it sleeps.
#
# To wake a core that sleeps costs whoever sends something, and whoever is sent it, longer than most requests take; a worker
# that looks for a moment first spares both that, for processor time. It does so only where the pauses between turns have been
# as short as that lately. Knows pauses; must not know what a turn does.


@cython.final
cdef class Lookout:

    def __cinit__(self, loop, int64_t most):
        """`most`: ns for which it looks; 0: never."""
        self.loop = loop
        self.most = most
        self.mean = LONG_PAUSES * most
        self.again = self._look

    # hot
    cdef void begin(self) noexcept nogil:
        """A turn has something to do."""
        cdef int64_t pause
        if self.most:
            pause = nanoseconds() - self.since
            if pause > LONG_PAUSES * self.most:
                pause = LONG_PAUSES * self.most     # a night is forgotten as soon as a moment
            self.mean += (pause - self.mean) // REMEMBERED

    # hot
    cdef int end(self) except -1:
        """It has done it."""
        if self.most:
            self.since = nanoseconds()
            if SHORTEST < self.mean < self.most:
                self.until = self.since + self.most
                if not self.looking:
                    self.looking = True
                    self.loop.call_soon(self.again)  # python: callback
        return 0

    def _look(self):
        """While this is called for, the loop asks for events without waiting for them."""
        if nanoseconds() < self.until:
            self.loop.call_soon(self.again)
            self.looks += 1
        else:
            self.looking = False
            self.vain += 1
