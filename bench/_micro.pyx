# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Loops around the C leaves of `cdn._core`, so that a call from Python is not what gets measured."""

from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cdn._core cimport (
    Chunked, QueryFilter, RequestHead, ResponseHead, TargetParts, chunked_next, etag_list_matches, normal_authority,
    normal_path, parse_http_date, parse_range, put_http_date, put_status_line, put_uint, scan_request,
    scan_response, siphash128, split_request_target, write_key,
)

from cdn.proxy._clock cimport Clock
from cdn.proxy._lane cimport compose
from cdn.proxy._log cimport HitLog, Line, Text, line_of
from cdn.store._memory cimport Memory
from cdn.store.layout cimport Record
from posix.uio cimport iovec

from time import thread_time_ns


def run(str leaf, bytes data, bytes other, int n):
    """Nanoseconds of CPU time for n calls of a leaf on `data` (and `other`, where the leaf takes two inputs)."""
    cdef const char* p = data
    cdef size_t size = len(data)
    cdef const char* q = other
    cdef size_t other_size = len(other)
    cdef RequestHead request
    cdef ResponseHead response
    cdef TargetParts parts
    cdef Chunked chunked
    cdef QueryFilter query = QueryFilter(("utm_*", "fbclid"), None, leaf == "query_sort")
    cdef char room[8192]
    cdef char authority[1024]
    cdef size_t resume, at, start, length
    cdef uint64_t hash_[2]
    cdef int64_t first, last, sink = 0
    cdef char* end
    cdef int as_status = {"compose_206": 206, "compose_304": 304}.get(leaf, 0)
    cdef int i
    resume = 0
    if leaf == "split_request_target":
        scan_request(p, size, &resume, 32768, 128, &request)
    began = thread_time_ns()
    if leaf == "scan_request":
        for i in range(n):
            resume = 0
            sink += scan_request(p, size, &resume, 32768, 128, &request)
    elif leaf == "scan_response":
        for i in range(n):
            resume = 0
            sink += scan_response(p, size, &resume, 32768, 128, &response)
    elif leaf == "split_request_target":
        for i in range(n):
            sink += split_request_target(&request, p, False, authority, room, &parts)
    elif leaf == "normal_path":
        for i in range(n):
            sink += normal_path(p, size, room)
    elif leaf == "normal_authority":
        for i in range(n):
            sink += normal_authority(p, size, False, room)
    elif leaf == "query_filter" or leaf == "query_sort":
        for i in range(n):
            sink += query.apply(p, size, room)
    elif leaf == "write_key":
        for i in range(n):
            sink += write_key(False, p, size, q, other_size, NULL, -1, room)
    elif leaf == "siphash128":
        for i in range(n):
            siphash128(<const uint8_t*>q, p, size, hash_)
            sink += hash_[0] & 1
    elif leaf == "etag_list_matches":
        for i in range(n):
            sink += etag_list_matches(p, size, q, other_size, True)
    elif leaf == "parse_range":
        for i in range(n):
            sink += parse_range(p, size, 1 << 20, &first, &last)
    elif leaf == "parse_http_date":
        for i in range(n):
            sink += parse_http_date(p, size, 1700000000)
    elif leaf == "put_http_date":
        for i in range(n):
            sink += put_http_date(room, 1700000000 + i) - room
    elif leaf == "put_status_line":
        for i in range(n):
            sink += put_status_line(room, 200) - room
    elif leaf == "put_uint":
        for i in range(n):
            sink += put_uint(room, <uint64_t>123456789 + i) - room
    elif leaf.startswith("compose"):
        for i in range(n):
            end = compose(room, p, size, 17, 0x36, as_status, 65536, 65536, 1 << 20, 77)
            memcpy(end, q, other_size)
            end = put_uint(end + other_size, 3523)
            memcpy(end, b"\r\n\r\n", 4)
            sink += end + 4 - room
    elif leaf == "chunked_next":
        for i in range(n):
            memset(&chunked, 0, sizeof(chunked))
            at = 0
            while chunked_next(&chunked, p, size, &at, &start, &length) == 1:
                sink += length
    else:
        raise ValueError(leaf)
    took = thread_time_ns() - began
    if sink == -1:
        raise AssertionError
    return took


class Nowhere:
    """A sink and a loop for a log: takes all, keeps nothing."""

    format = "json"

    def __init__(self):
        self.bytes = 0

    def write(self, chunk):
        self.bytes += len(chunk)
        return True

    def call_later(self, *_):
        return self

    def cancel(self):
        pass


def log(bytes head, bytes key, int n):
    """The same for n lines of the access log about a hit on this request, handing them over included; then their bytes."""
    cdef RequestHead request
    cdef size_t resume = 0
    cdef const char* p = head
    cdef Line line
    cdef int i
    sink = Nowhere()
    cdef Clock clock = Clock()
    cdef HitLog log = HitLog(sink, sink, clock)
    cdef str client = "192.0.2.17"
    if scan_request(p, len(head), &resume, 32768, 128, &request) <= 0:
        raise ValueError(head)
    began = thread_time_ns()
    for i in range(n):  # as HitLog.hit does
        memset(&line, 0, sizeof(Line))
        line_of(&line, p, &request)
        line.time = clock.read()
        line.status = 200
        line.bytes_sent = 1024 + i
        line.outcome = b"hit"
        line.key = Text(<const char*>key, <size_t>len(key))
        line.micros = i & 1023
        line.first_byte_us = -1
        log.add(client, &line)
    took = thread_time_ns() - began
    log.flush()
    return took, sink.bytes


def store(str what, Memory memory not None, list keys not None, int64_t now):
    """The same for one call with each of these keys: `find` a record, `touch` it as well, or find it, read a Range of 64 KiB
    and copy those bytes of its body (`range`)."""
    cdef Py_ssize_t i
    cdef Py_ssize_t n = len(keys)
    cdef const char** p = <const char**> malloc(n * sizeof(char*))
    cdef size_t* sizes = <size_t*> malloc(n * sizeof(size_t))
    cdef char* room = <char*> malloc(65536)
    cdef Record* r
    cdef iovec iov[16]
    cdef int64_t first, last, sink = 0
    cdef size_t at
    cdef int pieces, k
    if p == NULL or sizes == NULL or room == NULL:
        raise MemoryError
    for i in range(n):
        p[i] = keys[i]
        sizes[i] = len(keys[i])
    began = thread_time_ns()
    if what == "find":
        for i in range(n):
            sink += memory.find(p[i], sizes[i]) != NULL
    elif what == "touch":
        for i in range(n):
            r = memory.find(p[i], sizes[i])
            if r != NULL:
                memory.touch(r, now)
                sink += 1
    elif what == "range":
        for i in range(n):
            r = memory.find(p[i], sizes[i])
            if r == NULL or parse_range(b"bytes=65536-131071", 18, r.body_length, &first, &last) != 1:
                continue
            pieces = memory.body_iov(r, first, last - first + 1, iov, 16)
            at = 0
            for k in range(pieces):
                memcpy(room + at, iov[k].iov_base, iov[k].iov_len)
                at += iov[k].iov_len
            sink += at == 65536
    else:
        raise ValueError(what)
    took = thread_time_ns() - began
    free(p)
    free(sizes)
    free(room)
    return took, sink
