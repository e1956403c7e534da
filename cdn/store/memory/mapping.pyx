# The mapping: how large each part of it is, where it lies, and its first state. Decides how a size is divided between the index and
# the pages; must not know what will lie in them.

cdef enum:
    LEAST_SIZE = 1 << 20
    MOST_SIZE_BITS = 42             # blocks and granules have numbers that reach so far
    BASE_PART = 512                 # the index begins with this part of what it may become
    LEAST_BASE = 205                # buckets of it: for 1024 objects
    MOST_BUCKETS = 160_000_000      # so that every position of a ring has a number
    GUARD = 1 << 20                 # behind the mapping, never written: a reader of what is just being reused cannot leave it


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


cdef int plan_mapping(Super* geometry, uint64_t size, objects, int workers, str policy, int pinned, first) except -1:
    """The superblock of a store with these properties: see `Memory`. ValueError where there can be none."""
    cdef uint64_t nbuckets
    cdef uint64_t npages
    cdef uint64_t at_first
    cdef uint64_t spare
    if size < LEAST_SIZE:
        raise ValueError("the memory store takes at least 1 MiB")
    if size > <uint64_t> 1 << MOST_SIZE_BITS:
        raise ValueError("the memory store takes at most 4 TiB")
    if not 0 <= workers <= MOST_WORKERS:
        raise ValueError(f"at most {MOST_WORKERS} workers share a memory store")
    if not 1 <= pinned <= 100:
        raise ValueError("1 to 100 % of the memory store may be pinned")
    size -= size % 4096
    nbuckets = ((size >> 10 if objects is None else <uint64_t> objects) + SLOTS - 1) // SLOTS
    if nbuckets * sizeof(Bucket) > size // 2:
        raise ValueError("an index for that many objects takes more than half of the memory store")
    if nbuckets == 0:
        raise ValueError("the index of the memory store needs room for one object")
    if nbuckets > MOST_BUCKETS:
        if objects is not None:
            raise ValueError(f"the index of the memory store has room for at most {MOST_BUCKETS * SLOTS} objects")
        nbuckets = MOST_BUCKETS
    at_first = (max(nbuckets // BASE_PART, LEAST_BASE) if first is None else <uint64_t> first // SLOTS)
    memset(geometry, 0, sizeof(Super))
    geometry.base_buckets = within(at_first, 1, nbuckets)
    geometry.extent = geometry.base_buckets
    geometry.size = size
    geometry.nworkers = workers
    geometry.evict.policy = policy_number(policy)
    npages = size // PAGE_BYTES
    while lay_out(geometry, npages, nbuckets) > size:
        npages -= 1
    if first is None:       # and what is less than a page, as far as rings do not grow with it
        at_first = geometry.base_buckets
        spare = (size - lay_out(geometry, npages, nbuckets)) // sizeof(Bucket)
        geometry.base_buckets = min(at_first + spare, nbuckets)
        while lay_out(geometry, npages, nbuckets) > size:
            spare -= spare // 8 + 1
            geometry.base_buckets = min(at_first + spare, nbuckets)
        geometry.extent = geometry.base_buckets
    memcpy(geometry.magic, b"cdn-mem\0", 8)
    geometry.version = LAYOUT_VERSION
    geometry.pinned_most = npages * PAGE_GRANULES * pinned // 100
    geometry.stamp = 1


cdef char* map_file(int fd, uint64_t size) except NULL:
    """The whole of an empty file in memory, taken at once, with the guard behind it."""
    cdef void* base
    os.ftruncate(fd, size)
    os.posix_fallocate(fd, 0, size)
    base = mmap(NULL, size + GUARD, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if base != MAP_FAILED:
        base = mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0)
    if base == MAP_FAILED:
        raise OSError(f"cannot map {size} bytes for the memory store")
    return <char*> base


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
