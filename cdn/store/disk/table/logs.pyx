# After a start: the records of a segment's log become slots. The later event wins, so the order in which logs are read is
# of no matter. Must not know where a log comes from, nor what an entry is.

cdef enum:
    RECORD_BYTES = 64       # see `format.py`
    RECORD_ENTRY = 1
    RECORD_GONE = 2
    AHEAD = 16              # records whose buckets are fetched ahead

cdef char[RECORD_BYTES] NOTHING
memset(NOTHING, 0, RECORD_BYTES)

cdef struct LogRecord:      # 64 bytes
    uint32_t crc
    uint32_t kind
    uint64_t hash
    uint64_t serial
    uint64_t stamp
    uint32_t offset
    uint32_t length
    uint64_t spare[3]

cdef struct Found:
    uint64_t good           # records
    uint64_t serial         # the highest in them
    uint64_t stamp
    uint64_t bad            # records

assert sizeof(LogRecord) == RECORD_BYTES


cdef void read_log(Top* top, const LogRecord* r, uint64_t n, int segment, uint64_t data, uint64_t safe,
                   Found* found) noexcept nogil:
    """`data`: how long the segment's data file is; the first `safe` records were certainly there."""
    cdef Seg* seg = segs_of(top) + segment
    cdef uint32_t seed = <uint32_t> seg.number
    cdef uint64_t oldest = seg.oldest
    cdef Slot* s
    cdef uint64_t i
    cdef uint64_t stop
    cdef bint there
    lock(top)
    for i in range(n):
        if i + AHEAD < n:
            prefetch(bucket(top, r[i + AHEAD].hash, 0))
            prefetch(bucket(top, r[i + AHEAD].hash, 1))
        if crc32c_of(<const uint8_t*> &r[i] + 4, RECORD_BYTES - 4, seed) != r[i].crc:
            # the file was made longer and the power went before the data came: that is no damage
            found.bad += i < safe or memcmp(&r[i], NOTHING, RECORD_BYTES) != 0
            continue
        stop = (<uint64_t> r[i].offset + r[i].length) << UNIT_SHIFT
        found.good += 1
        found.serial = max(found.serial, r[i].serial & SERIAL_MASK)
        found.stamp = max(found.stamp, r[i].stamp)
        oldest = min(oldest, r[i].serial)
        there = r[i].kind == RECORD_ENTRY
        if there and (stop > data or r[i].length == 0 or (r[i].offset | r[i].length) > UNITS_MASK):
            found.bad += 1
            there = False       # but what it replaced is replaced
        s = place(top, r[i].hash)
        if state_of(s) != SLOT_EMPTY and serial_of(s) >= r[i].serial:
            continue
        if there:
            change(top, s, r[i].hash, SLOT_STORED, r[i].serial,
                   <uint64_t> segment << 48 | <uint64_t> r[i].offset << UNIT_BITS | r[i].length)
        else:
            change(top, s, r[i].hash, SLOT_GONE, r[i].serial, 0)
    seg.oldest = oldest
    top.serial = max(top.serial, found.serial)
    unlock(top)
