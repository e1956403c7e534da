# The mapping: where each part of it lies, and its first state.

cdef enum:
    GUARD = 1 << 20     # behind the mapping, never written: a reader of what is just being reused cannot leave it


cdef inline uint64_t within(uint64_t n, uint64_t least, uint64_t most) noexcept nogil:
    return least if n < least else most if n > most else n


cdef inline uint64_t rounded(uint64_t n, uint64_t unit) noexcept nogil:
    return (n + unit - 1) // unit * unit


cdef uint64_t lay_out(Super* t, uint64_t npages, uint64_t nbuckets) noexcept nogil:
    """Fills the geometry into t; returns how many bytes it takes."""
    cdef uint64_t entries = rounded(npages, TREE_FANOUT)
    cdef uint64_t total = 0
    cdef uint64_t k = 0
    cdef uint64_t at
    while True:
        t.level[k] = total
        total += entries
        k += 1
        if entries <= TREE_FANOUT:
            break
        entries = rounded(entries // TREE_FANOUT, TREE_FANOUT)
    t.levels = k
    t.npages = npages
    t.nbuckets = nbuckets
    t.pin_lines = within(t.size >> 21, 2, 512)
    t.nfills = within(t.size >> 17, FILL_WINDOW, 8192)
    t.nremembered = within(t.size >> 18, 64, 16384)
    t.workers = 4096
    t.pins = t.workers + t.nworkers * sizeof(WorkerSlot)
    t.fill_tags = t.pins + t.nworkers * t.pin_lines * PIN_WAYS * sizeof(uint64_t)
    t.fill_numbers = t.fill_tags + t.nfills * sizeof(uint32_t)
    t.fills = rounded(t.fill_numbers + t.nfills * sizeof(uint16_t), 8)
    t.uncacheable = rounded(t.fills + FILL_BASE * sizeof(FillSlot), 64)
    t.index = rounded(t.uncacheable + t.nremembered * sizeof(Remembered), 64)
    t.tree_entries = total
    t.segments = t.index + t.base_buckets * sizeof(Bucket)
    t.trees = rounded(t.segments + ((nbuckets - t.base_buckets + SEGMENT_MASK) >> SEGMENT_SHIFT) * sizeof(uint32_t), 64)
    t.table = rounded(t.trees + TREES * total * sizeof(uint16_t), 64)
    at = lay_out_policy(t, t.table + npages * sizeof(Page))
    t.tables[TABLE_FILLS].most = (t.nfills - FILL_BASE + FILLS_A_BLOCK - 1) // FILLS_A_BLOCK
    for k in range(TABLES):
        t.tables[k].segments = at
        at += t.tables[k].most * sizeof(uint32_t)
    t.bounce = rounded(at, GRANULE)
    t.pages = rounded(t.bounce + BOUNCE_BYTES, 4096)
    return t.pages + npages * PAGE_BYTES


cdef void look_at(Space* s, char* base) noexcept nogil:
    """Point s into a mapping whose superblock is there."""
    s.base = base
    s.top = <Super*> base
    s.index = <Bucket*> (base + s.top.index)
    s.segments = <uint32_t*> (base + s.top.segments)
    s.base_buckets = s.top.base_buckets
    s.tree[RUNS] = <uint16_t*> (base + s.top.trees)
    s.tree[BLOCKS] = s.tree[RUNS] + s.top.tree_entries
    s.tree[FREES] = s.tree[BLOCKS] + s.top.tree_entries
    s.tree[LOOSE] = s.tree[FREES] + s.top.tree_entries
    s.table = <Page*> (base + s.top.table)
    s.pages = base + s.top.pages
    look_at_policy(s)


cdef void format_pages(Space* s) noexcept nogil:
    """All pages free. The mapping is zero."""
    cdef uint64_t page
    for page in range(<uint64_t> s.top.npages):
        s.table[page].free = PAGE_GRANULES
        tree_set(s, RUNS, page, PAGE_GRANULES)
