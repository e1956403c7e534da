# Which page has room: for each kind of it a tree over all pages, each node the greatest of the 32 below it. Decides which
# page is taken where several would do; must not know what lies in a page, or what its number counts.


cdef extern from *:
    """
    /* Which of a node's 32 numbers is the least that is at least n; there is one. A loop for vectors. */
    __attribute__((optimize("O3"))) static int cdn_best_of_node(const uint16_t* node, uint16_t n) {
        uint16_t best = 0xffff;
        int i = 0;
        for (int k = 0; k < 32; k++) {
            uint16_t over = (uint16_t)(node[k] - n);        /* what is less comes to more than any page has */
            best = over < best ? over : best;
        }
        while ((uint16_t)(node[i] - n) != best) i++;
        return i;
    }
    __attribute__((optimize("O3"))) static int cdn_most_of_node(const uint16_t* node) {
        int16_t most = 0;
        for (int k = 0; k < 32; k++) most = (int16_t)node[k] > most ? (int16_t)node[k] : most;
        return most;
    }
    """
    int cdn_best_of_node(const uint16_t* node, uint16_t n) noexcept nogil
    int cdn_most_of_node(const uint16_t* node) noexcept nogil


cdef enum:
    RUNS = 0        # which tree
    BLOCKS = 1
    FREES = 2       # all that is free in a page of runs
    LOOSE = 3       # the free quarters of blocks that are begun


cdef void tree_set(Space* s, int which, uint64_t page, uint16_t value) noexcept nogil:
    cdef uint16_t* level = s.tree[which] + s.top.level[0]
    cdef uint64_t at = page
    cdef uint64_t k
    cdef uint16_t* node
    cdef uint16_t before = level[at]
    cdef uint16_t most
    level[at] = value
    for k in range(1, s.top.levels):
        at //= TREE_FANOUT
        node = level + at * TREE_FANOUT
        level = s.tree[which] + s.top.level[k]
        most = level[at]
        if value == most or (value < most and before < most):
            return
        if value < most:        # it was the greatest: who is now?
            value = cdn_most_of_node(node)
            if value == most:
                return
        level[at] = value
        before = most


cdef inline int first_of_node(const uint16_t* node, uint16_t n) noexcept nogil:
    """The first of a node's numbers that is at least n; -1: none is."""
    cdef int i
    for i in range(TREE_FANOUT):
        if node[i] >= n:
            return i
    return -1


cdef inline int last_of_node(const uint16_t* node, uint16_t n) noexcept nogil:
    cdef int i = TREE_FANOUT - 1
    while i >= 0 and node[i] < n:
        i -= 1
    return i


cdef inline int64_t tree_descend(Space* s, int which, uint16_t n, bint last) noexcept nogil:
    """The first page whose number is at least n, or the last one; -1: there is none."""
    cdef int64_t k = <int64_t> s.top.levels - 1
    cdef uint64_t at = 0
    cdef uint16_t* node
    cdef int i
    while k >= 0:
        node = s.tree[which] + s.top.level[k] + at * TREE_FANOUT
        i = last_of_node(node, n) if last else first_of_node(node, n)
        if i < 0:
            return -1
        at = at * TREE_FANOUT + <uint64_t> i
        k -= 1
    return <int64_t> at


cdef int64_t tree_first(Space* s, int which, uint16_t n) noexcept nogil:
    return tree_descend(s, which, n, False)


cdef int64_t tree_last(Space* s, int which, uint16_t n) noexcept nogil:
    return tree_descend(s, which, n, True)


cdef int64_t tree_fit(Space* s, int which, uint16_t n) noexcept nogil:
    """The page whose number is the least that is at least n, among the 32 of the first node with such a one; -1: none."""
    cdef int64_t page = tree_first(s, which, n)
    cdef uint64_t node
    if page < 0:
        return -1
    node = <uint64_t> page // TREE_FANOUT * TREE_FANOUT
    return <int64_t> node + cdn_best_of_node(s.tree[which] + s.top.level[0] + node, n)


cdef inline int tree_most(Space* s, int which) noexcept nogil:
    """The greatest number of all."""
    return cdn_most_of_node(s.tree[which] + s.top.level[s.top.levels - 1])
