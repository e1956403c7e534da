"""What a lane has to know of a server, and of an origin with one server, without asking Python for each request.

Bases of `figures.Figures`, `health.Health`, `own.OwnServer` and `upstream.Upstream`: they decide, here is only what
they have decided, and what is counted where nothing is to be decided. Must not know why.
"""

from libc.stdint cimport int64_t, uint64_t

from cdn._core cimport rendezvous_score
from cdn.tier._wire cimport Connection, Pool


cdef class Tally:
    """How many answers there were, and how long the first byte of each took: by `bounds` (ms, upper ones), in sum, and as
    an average in which the newest has the share `newest`."""

    def __init__(self, tuple bounds not None, double newest):
        cdef int i
        if len(bounds) >= MOST_BUCKETS:
            raise ValueError(f"at most {MOST_BUCKETS - 1} bounds")
        self.nbounds = len(bounds)
        for i in range(self.nbounds):
            self.bounds[i] = bounds[i]
        self.newest = newest

    cdef void add(self, double first_byte_ms) noexcept:
        cdef int i = 0
        self.worked += 1
        self.seconds += first_byte_ms / 1000
        self.average_ms += (first_byte_ms - self.average_ms) * (self.newest if self.worked > 1 else 1.0)
        while i < self.nbounds and first_byte_ms > <double>self.bounds[i]:
            i += 1
        self.counts[i] += 1

    def answered(self, double first_byte_ms):
        self.add(first_byte_ms)

    @property
    def buckets(self):
        return [self.counts[i] for i in range(self.nbounds + 1)]


cdef class Standing:
    """`plain`: nothing speaks against the server, and its share is whole. `steady`: one more answer that works changes
    nothing."""


cdef class Member:
    """A server. `worked(first_byte_ms, status)`, of the class derived from it, hears of what may change its health."""

    def watch(self, statuses):
        """`worked` has to hear of these statuses."""
        self.suspect = frozenset(statuses)

    @property
    def busy(self):
        """Exchanges and tunnels under way or about to begin."""
        return self.under_way()

    cdef int64_t under_way(self) noexcept:
        return len(self.pool.live) - len(self.pool.idle) + self.connecting + self.reserved

    cdef double load(self) noexcept:
        """What it would have for its weight with one more."""
        return <double>(self.under_way() + 1) / self.weight

    cdef int answered(self, double first_byte_ms, int status) except -1:
        """The same as `worked`."""
        if self.health.steady and (len(self.suspect) == 0 or status not in self.suspect):
            self.figures.add(first_byte_ms)
        else:
            self.worked(first_byte_ms, status)
        return 0


cdef class Choice:
    """`only`: the server, where there is no other; `promised`: picked, but not asked yet; `homes`: among which a key's hash
    decides; `rivals`: among which those decide that are under way."""

    cpdef Member home(self, uint64_t key):
        """The server that a key with this hash belongs to, as `balance.hashed` says; None where something speaks against
        one of them."""
        cdef Member one, best = None
        cdef double claim, most = 0
        for one in self.homes:
            if not one.health.plain:
                return None
            claim = rendezvous_score(key, one.seed, one.weight)
            if best is None or claim > most:
                best, most = one, claim
        return best

    cpdef Member freest(self):
        """The server that is next by `balance.least_connections`; None where something speaks against one of them."""
        cdef Member one, best = None
        cdef double load, least = 0, total = 0
        cdef int equal = 0
        for one in self.rivals:
            if not one.health.plain:
                return None
            load = one.load()
            if equal == 0 or load < least:
                least, equal, best = load, 1, one
            elif load == least:
                equal += 1
        if equal < 2:
            return best
        # round robin among equals
        best = None
        for one in self.rivals:
            if one.load() == least:
                total += one.weight
                one.credit += one.weight
                if best is None or one.credit > best.credit:
                    best = one
        best.credit -= total
        return best

    cdef Connection take_plain(self):
        """A kept connection to the only server where there is nothing to weigh; None: ask `kept`."""
        cdef Member only = self.only
        if only is None or only.limit is not None or self.promised is not None or not only.health.plain:
            return None
        return only.pool.take(True)
