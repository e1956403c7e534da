"""The index of the disk as it lies in its mapping, which the processes of a node share.

    0           Top             magic, geometry, the lock, counters
    segments    Seg[]           which segment files there are; a slot names one by its place here
    buckets     Slot[8] each    a key's hash may lie in either of two

A slot is found by the keyed hash alone; whoever reads what it points at compares the whole key. It is read without the
lock: a reader that meets a slot in the middle of a change reads bytes that are not its key's, which it notices.
"""

from libc.stdint cimport uint32_t, uint64_t

from cdn._system cimport pthread_mutex_t

cdef enum:
    TABLE_VERSION = 1
    WAYS = 8
    UNIT_SHIFT = 6              # places and lengths on disk count 64 bytes
    UNIT_BITS = 24              # so a segment is 1 GiB at most

# Slot.serial: the state in the highest bits, below it the serial number of the event that made it so
cdef enum SlotState:
    SLOT_EMPTY = 0
    SLOT_PENDING = 1            # handed over to be written
    SLOT_STORED = 2
    SLOT_GONE = 3               # removed; keeps what was handed over before from coming back

cdef enum SegState:
    SEG_FREE = 0
    SEG_OPEN = 1
    SEG_SEALED = 2
    SEG_LEAVING = 3

cdef struct Slot:               # 32 bytes
    uint64_t hash
    uint64_t where              # segment << 48 | offset << 24 | length
    uint64_t serial
    uint32_t used               # read since it was written
    uint32_t owner              # process that has to write what is pending, or to log what is gone

cdef struct Seg:                # 32 bytes
    uint64_t number             # the file's name; counts up and is never given twice
    uint64_t oldest             # lowest serial number in it
    uint32_t state
    uint32_t owner              # process that writes or clears it
    uint64_t spare

cdef struct Top:
    char magic[8]
    uint32_t version
    uint32_t nsegments
    uint64_t size
    uint64_t nbuckets
    uint64_t segments, buckets  # offsets
    uint64_t serial             # the latest given
    uint64_t number             # of the newest segment
    uint64_t objects, units     # stored now
    uint64_t noted              # for whoever writes notes: up to where
    uint64_t lost               # slots given up because both buckets were full
    pthread_mutex_t lock
