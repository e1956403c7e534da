"""The leaves that every hot module shares: head scanning, framing, normal forms, keys, ranges, dates, head
assembly.

Pure functions of bytes, no policy: nothing here knows a socket, a clock, a route or what may be cached. Each
file in `core/` is one concept; C callers cimport the signatures in `_core.pxd`, Python callers see
`_core.pyi`.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.math cimport INFINITY, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strlen

from collections import namedtuple

include "core/tables.pyx"
include "core/errors.pyx"
include "core/names.pyx"
include "core/line.pyx"
include "core/head.pyx"
include "core/headview.pyx"
include "core/chunked.pyx"
include "core/path.pyx"
include "core/authority.pyx"
include "core/target.pyx"
include "core/query.pyx"
include "core/key.pyx"
include "core/conditional.pyx"
include "core/range.pyx"
include "core/dates.pyx"
include "core/assembly.pyx"
include "core/eviction.pyx"
include "core/sha256.pyx"
include "core/rendezvous.pyx"
include "core/exports.pyx"
