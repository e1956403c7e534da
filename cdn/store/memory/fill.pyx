# A body on its way in. Knows how much has arrived and where it lies; not who reads it, nor why it may be stored.


class FillState(IntEnum):
    WAITING = 0
    STREAMING = 1
    COMMITTED = 2
    DONE = 3
    ABORTED = 4


cdef enum:
    S_WAITING = 0
    S_STREAMING = 1
    S_COMMITTED = 2
    S_DONE = 3
    S_ABORTED = 4
    FIRST_RUN = 4096        # bytes of the first run of a body whose length is unknown,
    SECOND_RUN = 16384      # and of the second; then it goes to blocks

WAITING, STREAMING, COMMITTED, DONE, ABORTED = FillState
cdef tuple STATES = tuple(FillState)


cdef void call(callback) noexcept:
    callback()      # what it raises goes to sys.unraisablehook: it is not the writer's


@cython.final
cdef class Fill:

    def __init__(self, *args, **kwargs):
        raise TypeError("fills come from the store")

    cdef int open(self, Memory memory, bytes key) except -1:
        self.memory = memory
        self.key = key
        self.hash0 = memory.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        self.stamp = memory.stamp
        self.callbacks = {}     # in order; a key so that many leave cheaply
        memory.fills[key] = <size_t> <PyObject*> self
        self.registered = True

    def __del__(self):
        if self.memory is not None:
            self.abort("dropped")
            self.give_back()

    def __dealloc__(self):
        free(self.blocks)

    # -- what followers see ---------------------------------------------------------------------------------------

    @property
    def state(self):
        return STATES[self._state]

    @property
    def ended(self):
        return self._state == S_COMMITTED or self._state == S_DONE

    @property
    def joinable(self):
        return self.registered

    def subscribe(self, callback):
        self.callbacks[callback] = None

    def unsubscribe(self, callback):
        self.callbacks.pop(callback, None)

    def read(self, uint64_t offset, uint64_t n):
        cdef bytes out
        cdef char* to
        cdef uint64_t here
        if self.entry is not None:
            return read_body(&self.memory.s, self.entry.record(), offset, n)
        if offset >= self.arrived or self._state == S_ABORTED:
            return b""
        if offset < self.gone * BLOCK_BYTES:
            raise ValueError("these bytes of the fill have been given back")
        n = min(n, self.arrived - offset)
        if self.run != NULL:
            return PyBytes_FromStringAndSize(self.run_body + offset, n)
        out = PyBytes_FromStringAndSize(NULL, n)
        to = PyBytes_AS_STRING(out)
        while n:
            here = min(n, <uint64_t> BLOCK_BYTES - offset % BLOCK_BYTES)
            memcpy(to, self.in_block(offset), here)
            to += here
            offset += here
            n -= here
        return out

    # -- what the filler does -------------------------------------------------------------------------------------

    def start(self, draft not None, length):
        cdef Record t
        cdef uint64_t nblocks
        cdef uint64_t run_bytes
        cdef uint64_t body = 0
        if self._state != S_WAITING:
            raise ValueError("this fill has been started before")
        cdef bint fits = read_draft(draft, self.stamp, self.key, &t) is not None
        if length is not None:
            body = length
        if not self.detached:
            if not (fits and body <= self.memory.largest
                    and plan(t.key_len, t.head_len, t.meta_len, body, &nblocks, &run_bytes)):
                self.reason = "too-large"
                return False
            if length is not None and nblocks == 0 and not self.new_run(&t, run_bytes):
                self.reason = "no-space"
                return False
        self.draft = draft
        self.length = length
        self._state = S_STREAMING
        self.notify()
        return True

    def write(self, data):
        cdef Py_buffer view
        if self._state != S_STREAMING:
            raise ValueError("this fill is not open for writing")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if self.length is not None and self.arrived + <uint64_t> view.len > <uint64_t> self.length:
                raise ValueError("more bytes than the length that the fill was started with")
            if not self.append(<const char*> view.buf, view.len):
                return False
            if view.len == 0:
                return True
        finally:
            PyBuffer_Release(&view)
        self.notify()
        return True

    def commit(self, **changes):
        cdef Record t
        cdef Record* r
        cdef tuple text
        if self._state != S_STREAMING:
            raise ValueError("this fill is not open for committing")
        if self.length is not None and self.arrived != <uint64_t> self.length:
            raise ValueError("a body shorter than the length that the fill was started with")
        if not self.registered:
            self.end(S_DONE)
            return None
        if changes:
            self.draft = dataclasses.replace(self.draft, **changes)
        text = read_draft(self.draft, self.stamp, self.key, &t)
        t.hash0, t.body_length = self.hash0, self.arrived
        r = NULL if text is None else self.settle(&t, text[0], text[1])
        if r == NULL:
            self.reason = "no-space"
            self.end(S_DONE)
            return None
        self.entry = self.memory.publish_run(r)
        self.end(S_COMMITTED)
        return self.entry

    def abort(self, str reason not None):
        if self._state != S_WAITING and self._state != S_STREAMING:
            return
        if self.reason is None:
            self.reason = reason
        self.memory.s.top.aborts += 1
        self.give_back()
        self.end(S_ABORTED)

    def detach(self, str reason="too-large"):
        if self.detached or self._state > S_STREAMING:
            return
        self.detached = True
        if not self.purged:
            self.reason = reason
        self.unregister()
        self.notify()

    def release_before(self, uint64_t offset):
        cdef uint64_t upto = min(offset, self.arrived) // BLOCK_BYTES
        cdef uint64_t n
        cdef uint64_t i
        if not self.detached:
            raise ValueError("only a detached fill gives memory back before its end")
        if self.nblocks == 0 or upto <= self.gone:
            return
        n = min(upto - self.gone, self.nblocks)
        for i in range(n):
            give_block(&self.memory.s, self.blocks[i])
        self.nblocks -= n
        self.gone += n
        memmove(self.blocks, self.blocks + n, self.nblocks * sizeof(uint32_t))

    # -- inside ---------------------------------------------------------------------------------------------------

    cdef int notify(self) except -1:
        for callback in list(self.callbacks):
            call(callback)

    cdef int unregister(self) except -1:
        if self.registered:
            self.registered = False
            del self.memory.fills[self.key]

    cdef int end(self, int state) except -1:
        self.unregister()
        self._state = state
        self.notify()

    cdef int void(self, str reason) except -1:
        """A purge came: those who read go on, nobody joins, and it is not stored."""
        self.purged = True
        self.reason = reason
        self.unregister()
        self.notify()

    cdef char* in_block(self, uint64_t offset) noexcept:
        return block_bytes(&self.memory.s, self.blocks[offset // BLOCK_BYTES - self.gone]) + offset % BLOCK_BYTES

    cdef void give_back(self) noexcept:
        cdef uint64_t i
        if self.run != NULL:
            give_granules(&self.memory.s, self.run, self.run.run)
            self.run = NULL
        for i in range(self.nblocks):
            give_block(&self.memory.s, self.blocks[i])
        self.gone += self.nblocks
        self.nblocks = 0

    cdef bint new_run(self, const Record* t, uint64_t run_bytes) noexcept:
        """Another run, what has arrived copied over; the old one is given back."""
        cdef Record* r = make_run(&self.memory.s, granules(run_bytes))
        cdef char* body
        if r == NULL:
            return False
        r.key_len, r.head_len, r.meta_len = t.key_len, t.head_len, t.meta_len
        r.body = 0
        body = record_body(r)
        if self.run != NULL:
            memcpy(body, self.run_body, self.arrived)
            give_granules(&self.memory.s, self.run, self.run.run)
        self.run = r
        self.run_body = body
        self.run_room = <uint64_t> r.run * GRANULE - lead(t.key_len, t.head_len, t.meta_len, 0)
        return True

    cdef int append(self, const char* data, uint64_t n) except -1:
        cdef uint64_t total = self.arrived + n
        cdef uint64_t here
        if total > self.memory.largest and not self.detached:
            self.reason = "too-large"
            return False
        if n == 0:
            return True
        if not self.room_for(total):
            if not self.purged and not self.detached:
                self.reason = "no-space"
            return False
        if self.run != NULL:
            memcpy(self.run_body + self.arrived, data, n)
        else:
            while n:
                here = min(n, <uint64_t> BLOCK_BYTES - self.arrived % BLOCK_BYTES)
                memcpy(self.in_block(self.arrived), data, here)
                self.arrived += here
                data += here
                n -= here
        self.arrived = total
        return True

    cdef int room_for(self, uint64_t total) except -1:
        """Memory for a body of `total` bytes: a run while it is small, blocks from then on."""
        cdef Record t
        cdef uint64_t before
        cdef int64_t block
        cdef uint64_t more
        cdef uint64_t i
        cdef uint32_t* longer
        # how long it will be; of an unknown length what is there already says most
        cdef uint64_t size = 2 * total if self.length is None else <uint64_t> self.length
        if self.nblocks == 0 and self.gone == 0:
            if self.run != NULL and total <= self.run_room:
                return True
            if self.length is None and not self.detached:
                t.key_len, t.head_len, t.meta_len = len(self.key), len(self.draft.head), len(self.draft.meta)
                before = lead(t.key_len, t.head_len, t.meta_len, 0)
                if before + total <= FIRST_RUN:
                    return self.new_run(&t, FIRST_RUN)
                if before + total <= SECOND_RUN:
                    return self.new_run(&t, SECOND_RUN)
        while (self.gone + self.nblocks) * BLOCK_BYTES < total:
            if self.nblocks == self.blocks_cap:
                longer = <uint32_t*> realloc(self.blocks, (2 * self.blocks_cap + 16) * sizeof(uint32_t))
                if longer == NULL:
                    raise MemoryError()
                self.blocks = longer
                self.blocks_cap = 2 * self.blocks_cap + 16
            more = (size - (self.gone + self.nblocks) * BLOCK_BYTES) // BLOCK_BYTES + 1
            block = make_block(
                &self.memory.s, <int64_t> self.blocks[self.nblocks - 1] if self.nblocks else -1, more)
            if block < 0:
                return False
            self.blocks[self.nblocks] = <uint32_t> block
            self.nblocks += 1
        if self.run != NULL:
            i = 0
            while i < self.arrived:
                before = min(self.arrived - i, <uint64_t> BLOCK_BYTES)
                memcpy(self.in_block(i), self.run_body + i, before)
                i += before
            give_granules(&self.memory.s, self.run, self.run.run)
            self.run = NULL
        return True

    cdef Record* settle(self, Record* t, bytes head, bytes meta) except? NULL:
        """What has arrived, laid out for publishing; NULL: no room, and everything is as it was."""
        cdef Space* s = &self.memory.s
        cdef uint64_t nblocks
        cdef uint64_t run_bytes
        cdef uint64_t done
        cdef uint64_t here
        cdef int spare
        cdef Record* r
        if not plan(t.key_len, t.head_len, t.meta_len, t.body_length, &nblocks, &run_bytes):
            return NULL
        t.body = nblocks
        r = self.run
        if (r != NULL and r.key_len == t.key_len and r.head_len == t.head_len and r.meta_len == t.meta_len
                and nblocks == 0):
            # it lies where it belongs: cut what is too much
            spare = r.run - granules(run_bytes)
            if spare > 0:
                r.run -= spare
                give_granules(s, <char*> r + r.run * GRANULE, spare)
            write_run(r, t, self.key, head, meta)
            self.run = NULL
            return r
        if r != NULL:       # the new head is longer or shorter than what `start` was given
            r = self.memory.lay(t, self.key, head, meta, self.run_body)
            if r != NULL:
                self.give_back()
            return r
        r = make_run(s, granules(run_bytes))
        if r == NULL:
            return NULL
        write_run(r, t, self.key, head, meta)
        done = nblocks * BLOCK_BYTES
        while done < t.body_length:
            here = min(t.body_length - done, <uint64_t> BLOCK_BYTES - done % BLOCK_BYTES)
            memcpy(record_body(r) + (done - nblocks * BLOCK_BYTES), self.in_block(done), here)
            done += here
        if nblocks:
            memcpy(record_blocks(r), self.blocks, nblocks * sizeof(uint32_t))
            block_refs(s, self.blocks[0])[0] = 1
            self.nblocks -= nblocks
            self.gone += nblocks
            memmove(self.blocks, self.blocks + nblocks, self.nblocks * sizeof(uint32_t))
        self.give_back()
        return r
