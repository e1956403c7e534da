"""The one mapping of a node, byte by byte: what a process needs to read or write it, and nothing process-local.

Everything is addressed by offsets from the start of the mapping, in granules of 8 bytes; no Python object, no pointer.

    0                 Super         magic, version, geometry, counters, the lock of all who write
    workers           WorkerSlot[]  who is attached; none in a store that one process uses alone
    pins              uint64_t[]    a table for each worker: granules of the records that it holds; 0: free
    fill_tags         uint32_t[]    for each fill slot: half of its key's hash with bit 0 set; 0: free
    fill_numbers      uint16_t[]    and which FillSlot it has
    fills             FillSlot[]    the bodies that are on their way in: the first FILL_BASE; the others come as they are needed,
                                    and lie in blocks
    uncacheable       Remembered[]  keys whose last answer could not be stored
    index             Bucket[]      5 slots each; a key may lie in either of two. The first `base_buckets`; the others come as
                                    objects do and lie in blocks
    segments          uint32_t[]    which blocks those are, 256 buckets each
    trees             uint16_t[]    four of them, a number for every page and the maxima above, 32 to a node:
                                    the longest free run; the free blocks of a page of blocks; all that is free in a page of runs;
                                    the free quarters of blocks that are begun
    table             Page[]        kind, free granules and owners of every page
    queues            uint32_t[]    what the eviction policy keeps: rings of slot numbers, oldest first; their beginnings
    ghosts            uint32_t[8]   and fingerprints of what was evicted before anybody asked for it again; the first groups
    table_blocks      uint32_t[]    which blocks hold the rest of fills, rings and ghosts
    bounce            8 KiB         where a record lies for a moment that is moved by less than its own length
    pages             128 KiB each  runs of granules, blocks of large bodies, or what is more of a table than its beginning

A stored response is one run of granules inside one page:

    Record (96) | key | head | meta | pad to 4 | stretches of blocks, quarters (uint32_t each) | the rest of the body

Whole 16 KiB of a body lie in blocks, and whole 4 KiB of what is left in quarters of blocks: what a hole is to be found for
is short then, and holes are shorter the shorter it is. Both are listed in the run and numbered through all pages, so that
neighbours in number are neighbours in memory; up to 16 blocks that are (a *stretch*) are listed as one, by the first of them and how many
more there are in the upper 4 bits; the first block counts the records that share them all, quarters are of one
record each; where many lie about that make up no block, they take the place of a body's last blocks. A body on its way in
has blocks only, its rest lies in the run. Neither is ever moved, runs are: every run begins with a Record, so that a page can be read without the index (compaction, rebuilding). A page of
runs begins with the list of them, the highest first: it grows upwards, a line of 8 at a time, and runs are taken from the
upper end down. What is free is what lies between, so a page without runs keeps no account of it.

Who may touch what. Whoever writes the structures holds the lock in Super. A record does not change once its slot points
at it, except `pins` and `fresh_until` (a soft purge lowers it, one atomic store). Readers take no lock. One that copies
reads the bucket's `version` before and after: the writer changes it whenever a slot stops pointing at a record, and
before that memory is used again. One that holds a record for longer writes its granule into its own pin table, and then
looks whether the slot still says what it said: a writer that has emptied a slot looks into all tables before it uses
the memory again. The access word lies in the bucket and not in the record: a late store by a reader can then do no
more than mark another entry as used.

`place`, the rings and the ghosts are of those who write. A fill's bytes are written by its owner alone and without the lock; `arrived` says how many others may read. What it has
outgrown stays until its followers have left.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cdn._system cimport pthread_mutex_t

cdef enum:
    LAYOUT_VERSION = 5
    GRANULE = 8
    GRANULE_SHIFT = 3
    PAGE_BYTES = 131072
    PAGE_SHIFT = 17
    PAGE_GRANULES = 16384
    LINE_SPANS = 8          # of the list of runs of a page
    LINE_GRANULES = 4
    MOST_RUN = 131040       # bytes: a page but for one line
    BLOCK_BYTES = 16384
    BLOCK_GRANULES = 2048
    PAGE_BLOCKS = 8
    QUARTER_BYTES = 4096
    QUARTER_GRANULES = 512
    PAGE_QUARTERS = 32
    RUN_BYTES = 16384       # what arrives and is not longer, all told, is one run; longer bodies go to blocks
    STRETCH_SHIFT = 28      # so there are at most 2**28 blocks
    STRETCH_MASK = 0x0fffffff
    MOST_STRETCH = 16
    MOST_BLOCKS = 14336     # of one body: their numbers take less than half of the longest run
    SLOTS = 5
    SEGMENT_SHIFT = 8       # buckets of the index that fill a block
    SEGMENT_MASK = 255
    EXTENT_SHIFT = 56
    TREE_FANOUT = 32        # one cache line of uint16_t
    PIN_WAYS = 8            # entries of a pin table in one cache line
    FILL_WINDOW = 64        # places of the table of fills where a key may lie
    FILL_BASE = 64
    REMEMBERED_WAYS = 4
    OLD_RUNS = 4            # a fill outgrows no more than these
    REASON = 32
    MOST_WORKERS = 64       # one bit each in a word
    TREE_LEVELS = 6         # 32**6 pages = 128 TiB
    TREES = 4
    BOUNCE_BYTES = 8192
    ACCESS_SHIFT = 4        # access stamps count 16 ms

# Record.flags. Bits 0-7 mean something to the store; the others are the rules' and the lane's, and opaque to it.
cdef enum:
    RECORD_VARY_MARKER = 1      # meta lists the Vary specs of the variants under this key; no response of its own
    RECORD_NO_BODY = 2          # answered without body and Content-Length whatever the method (204, stored 304-like)
    RECORD_HAS_DATE = 4         # the head has a Date of the origin's
    RECORD_SYNTHETIC = 8        # made here, not by an origin
    RECORD_UNCACHEABLE = 16     # remembers only that the last answer could not be stored
    RECORD_NO_STALE = 256       # never served stale: must-revalidate, proxy-revalidate, s-maxage (RFC 9111 §5.2.2)
    RECORD_NO_CACHE = 512       # never served without asking the origin (RFC 9111 §5.2.2.4)
    RECORD_NO_RANGES = 1024     # not to be cut into ranges: not a 200, or Accept-Ranges: none
    RECORD_OLD_ORIGIN = 4096    # it came as HTTP/1.0, which Via says (RFC 9110 §7.6.3)
    RECORD_HEURISTIC = 2048     # its lifetime was guessed (RFC 9111 §4.2.2)

# Record.pins: a count of those who are not attached, and what the record has become
cdef enum:
    PIN_COUNT = 0x0fffffff
    PIN_FOLLOWED = 0x20000000   # followers of the fill that brought it still read it
    PIN_RETIRED = 0x40000000    # no slot points at it; freed with its last pin
    PIN_FILLING = 0x80000000    # not published yet

cdef enum PageKind:
    PAGE_FREE = 0
    PAGE_RUNS = 1
    PAGE_BLOCK = 2
    PAGE_CLEARING = 3

# Times that a record holds in 48 bits are as late as never (or as early) where they are further away than those reach.
cdef extern from *:
    """
    #ifndef CDN_RECORD
    #define CDN_RECORD
    typedef struct {
        int64_t born : 48; uint64_t flags : 16;
        int64_t response_time : 48; uint64_t head_len : 16;
        int64_t swr_until : 48; uint64_t meta_len : 16;
        int64_t sie_until : 48; uint64_t run : 16;
        int64_t last_modified : 48; uint64_t quarters : 16;
        uint64_t body_length : 38, status : 10, body : 16;
        uint64_t lines_304;
        uint16_t stretches, status_line_len, etag, etag_len;
        int64_t fresh_until;
        uint64_t stamp : 48, key_len : 16;
        uint32_t pins, place;
        uint64_t hash0;         /* beside the key, which is looked at with it */
    } Record;
    _Static_assert(sizeof(Record) == 96, "a record has 96 bytes");
    #define CDN_NO_TIME (-((int64_t)1 << 47))
    static inline int64_t cdn_time(int64_t t) {
        return t < CDN_NO_TIME ? CDN_NO_TIME : t > -1 - CDN_NO_TIME ? -1 - CDN_NO_TIME : t;
    }
    static inline uint64_t cdn_stamp(uint64_t stamp) { return stamp >> 48 ? 0 : stamp; }
    /* Of a record that others read: stale is too old from now on. The upper 16 bits of both times make them negative. */
    static inline void cdn_never_stale(Record* r) {
        __atomic_store_n((uint16_t*) ((char*) r + 20), 0x8000, __ATOMIC_RELAXED);
        __atomic_store_n((uint16_t*) ((char*) r + 28), 0x8000, __ATOMIC_RELAXED);
    }
    #endif
    """
    const int64_t NO_TIME "CDN_NO_TIME"
    int64_t record_time "cdn_time" (int64_t t) noexcept nogil   # as a record holds it
    uint64_t record_stamp "cdn_stamp" (uint64_t stamp) noexcept nogil    # 0, which is older than all, where it is too great
    void never_stale "cdn_never_stale" (Record* r) noexcept nogil
    ctypedef struct Record:         # 96 bytes
        uint64_t hash0              # the first half of siphash128 of the key with the node's secret
        int64_t fresh_until, swr_until, sie_until
        uint64_t lines_304          # bit i: line i of the head's field lines belongs in a 304
        uint64_t stamp              # decision epoch
        int64_t born                # ms of node time; age = now - born
        int64_t response_time
        int64_t last_modified       # seconds, NO_TIME when none
        uint64_t body_length
        uint16_t flags
        uint16_t body, quarters     # how many blocks and quarters its body has; private to the store
        uint16_t stretches          # in how many stretches the blocks are listed; as many as blocks while it arrives
        uint16_t run                # granules of this run; private to the store
        uint16_t key_len, head_len, meta_len
        uint16_t status, status_line_len
        uint16_t etag, etag_len     # offset in head; etag_len 0: none
        uint32_t pins               # private to the store, atomic
        uint32_t place              # lru: serial; else queue << PLACE_SHIFT | position; private to the eviction

cdef struct Bucket:             # 64 bytes, one cache line
    uint64_t slot[SLOTS]        # tag << 40 | moving << 39 | granule, 0 when empty; one atomic store publishes
    uint32_t access[SLOTS]      # lru: when last used, in units of 2**ACCESS_SHIFT ms, wrapping; else clock and uses
    uint32_t version

cdef struct Page:               # 16 bytes
    uint8_t refs[PAGE_BLOCKS]   # of a block that is a body's first: how many records use that body
    uint16_t free               # granules
    uint8_t kind, spare
    uint16_t runs               # how many are listed; of a page of blocks these two are a bit for each quarter that is taken
    uint16_t lines              # that the list has

cdef struct Span:               # of the list at the beginning of a page of runs, in granules from there
    uint16_t at, n

cdef enum:
    TABLE_FILLS = 0
    TABLE_RING = 1              # and the other ring
    TABLE_GHOSTS = 3
    TABLES = 4

cdef struct Table:              # what has grown into blocks
    uint64_t segments           # offset of their numbers
    uint64_t blocks, most

cdef struct WorkerSlot:         # 64 bytes, a cache line of its own
    uint32_t attached           # 0: nobody
    uint32_t pid
    uint32_t woken              # its wake-up is on the way: no other is needed
    uint32_t spare
    uint64_t pinned             # granules of the records in its pin table
    uint32_t more_spare[10]

cdef enum Policy:
    POLICY_LRU = 0
    POLICY_SIEVE = 1
    POLICY_S3FIFO = 2
    POLICY_S3FIFO_SIZE = 3

cdef enum:
    PLACE_SHIFT = 30            # of Record.place
    NO_POSITION = 0x3fffffff
    NO_PLACE = 0xffffffff
    GHOST_WAYS = 8

cdef struct Queue:              # a ring of slot numbers; those that left early are holes in it
    uint64_t first              # position of the oldest
    uint64_t length             # holes included
    uint64_t live
    uint64_t bytes              # of the records in it

cdef struct Eviction:           # all of it can be made again from the index, in about the same order
    uint64_t policy
    uint64_t queues, ghosts     # offsets
    uint64_t room[2]            # positions of each ring; `base_room` of them lie at `queues`, and there may be `most_room`
    uint64_t base_room[2]
    uint64_t most_room[2]
    uint64_t rings              # how many the policy has
    uint64_t groups             # of ghosts; likewise
    uint64_t base_groups, most_groups
    uint64_t ghost_level        # how often the base of them has doubled
    uint64_t hand               # sieve: the queue that the hand is in
    uint64_t ghost_clock        # bytes that went by the ghosts
    uint64_t ghost_hand         # the group that is swept next
    uint64_t went               # bytes evicted
    uint64_t heaviest           # what weighs more counts as that heavy
    uint32_t clock              # all but lru: bytes evicted so far, in units of the room, wrapping in 28 bits
    uint32_t serial             # lru: of the last record stored
    Queue queue[2]

cdef enum FillFlag:
    FILL_REGISTERED = 1         # found under its key
    FILL_PURGED = 2
    FILL_DETACHED = 4
    FILL_PUBLISHED = 8          # its run is a record of the index
    FILL_LEFT = 16              # its owner is done with it and could not say so: the lock was not to be had
    FILL_LOST = 32              # its owner has died

cdef enum:
    NO_OWNER = 0xffff             # FillSlot.owner: only followers are left

cdef struct FillSlot:           # 176 bytes
    uint64_t serial, stamp
    uint64_t era                # as old as this: see Super.era
    uint64_t hash0
    uint64_t run                # granule of the run: key, then head and meta, then the body or the numbers of its blocks
    uint64_t arrived            # bytes that may be read
    uint64_t length             # ~0: unknown
    uint64_t followers          # a bit for each worker that reads along
    uint64_t leaving            # and for those that are done and could not say so
    uint64_t old[OLD_RUNS]      # granules of outgrown runs, kept for followers
    uint64_t extra              # a block kept for followers, plus 1
    uint32_t state, flags, owner
    uint32_t nblocks            # in the run's list so far, from `base` on; `gone` of all are given back
    uint32_t gone, base
    uint32_t place              # where its tag is
    uint32_t next               # of those that are free: the number of the next one, plus 1
    char reason[REASON]

cdef struct Remembered:
    uint64_t tag
    int64_t word                # until when, in ms of node time, << 8 | why

cdef struct Super:
    char magic[8]
    uint32_t version
    uint32_t npages
    uint64_t size
    uint64_t nbuckets               # at most
    uint64_t base_buckets           # before the index has grown
    uint64_t extent                 # buckets that are in use; how often the base has doubled << EXTENT_SHIFT
    uint64_t workers, pins, fill_tags, fill_numbers, fills, uncacheable, index, segments, trees, table, bounce, pages   # offsets
    Table tables[TABLES]
    uint64_t nworkers               # slots
    uint64_t highest                # behind the last slot that was ever attached
    uint64_t pin_lines              # of one worker's table
    uint64_t nfills                 # places for tags, and slots at most
    uint64_t fill_free              # the first free slot's number, plus 1
    uint64_t nremembered
    uint64_t level[TREE_LEVELS]     # offset of each level of the tree, in uint16_t from its start
    uint64_t levels
    uint64_t tree_entries           # of one tree, all its levels
    uint64_t stamp                  # decision epoch
    uint64_t used_granules          # of the pages
    uint64_t loose                  # free quarters of blocks that are begun
    uint64_t idle                   # and of all blocks in pages of blocks
    uint64_t objects
    uint64_t object_bytes           # key + head + meta + body of all published
    uint64_t evictions, expired_evictions, moved, commits, aborts
    uint64_t lock_failures
    uint64_t rebuilt
    uint64_t retired                # records that only their pins keep
    uint64_t pinned_most            # granules that workers may pin before slow readers lose their pins
    uint64_t pinned_told            # how many it were when the workers were last told
    uint64_t filling                # fill slots in use
    uint64_t serial                 # of the last fill
    uint64_t era                    # fills of an earlier one are void
    uint64_t asides                 # 0: nothing was ever published that lies behind the key of something else
    uint32_t broken                 # a worker died while it wrote the structures: they are to be rebuilt first
    uint32_t spare
    pthread_mutex_t mutex           # robust, of all processes
    Eviction evict

cdef inline const char* record_key(const Record* r) noexcept nogil:
    return <const char*> (r + 1)

cdef inline const char* record_head(const Record* r) noexcept nogil:
    return <const char*> (r + 1) + r.key_len

cdef inline const char* record_meta(const Record* r) noexcept nogil:
    return <const char*> (r + 1) + r.key_len + r.head_len
