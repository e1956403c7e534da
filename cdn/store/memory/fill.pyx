# A body on its way in, as its owner and its followers have it. Knows how much has arrived; not who reads it, nor why it
# may be stored.
#
# `slot` is the fill in the table of all workers. Once the owner has let go of that it is `own`, its last state, and so it
# is from the beginning where no place in the table was to be had: such a fill is nobody else's and cannot be started.


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
    FIRST_LIST = 1024       # of which so many can be listed at first
    WORTH_JOINING = 4       # entries that a list becomes shorter by: then it is laid anew

WAITING, STREAMING, COMMITTED, DONE, ABORTED = FillState
cdef tuple STATES = tuple(FillState)


cdef void call(callback) noexcept:
    callback()      # what it raises goes to sys.unraisablehook: it is not the writer's


cdef tuple as_started(Fill fill, Record* t):
    """What `start` read from the draft, out of the run that it wrote: (head, meta); None: read the draft again."""
    cdef const Record* r
    cdef bytes head
    cdef bytes meta
    if fill.slot == &fill.own or fill.slot.length == ~(<uint64_t> 0) or fill.slot.flags & FILL_DETACHED:
        return None
    head, meta = fill.given.head, fill.given.meta
    r = fill_run(&fill.memory.s, fill.slot)
    if not (r.head_len == PyBytes_GET_SIZE(head) > 0 and r.meta_len == PyBytes_GET_SIZE(meta)):
        return None
    memcpy(t, r, sizeof(Record))
    return head, meta


@cython.final
cdef class Fill:

    def __init__(self, *args, **kwargs):
        raise TypeError("fills come from the store")

    cdef int open(self, Memory memory, bytes key, uint64_t stamp) except -1:
        """Nobody else's yet."""
        self.memory = memory
        self.key = key
        self.stamp = stamp
        memset(&self.own, 0, sizeof(FillSlot))
        self.own.length = ~(<uint64_t> 0)
        self.own.flags = FILL_DETACHED
        self.slot = &self.own

    cdef int enter(self, FillSlot* slot) except -1:
        self.slot = slot
        self.memory.fills[self.key] = <size_t> <PyObject*> self
        self.registered = True

    def __del__(self):
        if self.memory is None:
            return
        if self.remote:
            self.unfollow()
        else:
            self.give_up("dropped")
            self.let_go()

    # -- what followers see ---------------------------------------------------------------------------------------

    @property
    def state(self):
        return STATES[self.current()]

    cdef uint32_t current(self) noexcept:
        cdef uint32_t state = load32_acquire(&self.slot.state)
        if self.remote and state <= S_DONE and state != S_COMMITTED and self.slot.flags & FILL_DETACHED:
            return S_ABORTED    # it goes on for the owner's own readers only
        return state

    @property
    def ended(self):
        cdef uint32_t state = self.current()
        return state == S_COMMITTED or state == S_DONE

    @property
    def joinable(self):
        return load32_relaxed(&self.slot.flags) & FILL_REGISTERED != 0

    @property
    def purged(self):
        return self.is_purged()

    cdef bint is_purged(self) noexcept:
        return load32_relaxed(&self.slot.flags) & FILL_PURGED != 0 or (
            self.slot.state <= S_STREAMING and self.slot != &self.own
            and self.slot.era != load64_acquire(&self.memory.s.top.era))

    @property
    def detached(self):
        return load32_relaxed(&self.slot.flags) & FILL_DETACHED != 0

    @property
    def lost(self):
        return load32_relaxed(&self.slot.flags) & FILL_LOST != 0

    @property
    def arrived(self):
        return load64_acquire(&self.slot.arrived)

    @property
    def length(self):
        cdef uint64_t n = self.slot.length
        return None if n == ~(<uint64_t> 0) else n

    @property
    def reason(self):
        if self.is_purged():
            return "purged"
        if self.remote:
            if self.slot.reason[0] == 0:
                return "detached" if self.detached else None
            return self.slot.reason.decode("ascii", "replace")
        return self.why

    @property
    def draft(self):
        if self.given is None and self.remote and self.slot.state >= S_STREAMING:
            if self.slot.state != S_ABORTED or self.slot.flags & FILL_LOST:
                self.given = draft_of(fill_run(&self.memory.s, self.slot))
        return self.given

    def subscribe(self, callback):
        if self.callbacks is None:
            self.callbacks = {}     # in order; a key so that many leave cheaply
        self.callbacks[callback] = None

    def unsubscribe(self, callback):
        if self.callbacks is not None:
            self.callbacks.pop(callback, None)

    def read(self, uint64_t offset, uint64_t n):
        cdef bytes out
        cdef uint64_t arrived
        if self.entry is not None:
            return read_body(&self.memory.s, self.entry.record(), offset, n)
        arrived = load64_acquire(&self.slot.arrived)
        if offset >= arrived or self.current() == S_ABORTED:
            return b""
        if offset < <uint64_t> self.slot.gone * BLOCK_BYTES:
            raise ValueError("these bytes of the fill have been given back")
        n = min(n, arrived - offset)
        out = PyBytes_FromStringAndSize(NULL, n)
        fill_copy(&self.memory.s, self.slot, offset, PyBytes_AS_STRING(out), n)
        return out

    cdef int look(self) except -1:
        """Another worker has news: of this fill?"""
        cdef uint32_t state = self.current()
        cdef uint64_t arrived = load64_acquire(&self.slot.arrived)
        if state != self.seen_state or arrived != self.seen_arrived:
            self.seen_state = state
            self.seen_arrived = arrived
            self.notify()

    cdef void unfollow(self) noexcept:
        cdef Space* s = &self.memory.s
        self.memory.following.pop(<size_t> <PyObject*> self, None)
        if self.memory.follows.get(self.key) == <size_t> <PyObject*> self:
            del self.memory.follows[self.key]
        if take_lock(s, LOCK_WAIT):
            unfollow(s, self.slot, own_bit(s))
            drop_lock(s)
        else:
            or64_seq_cst(&self.slot.leaving, own_bit(s))
            s.owing = True

    # -- what the filler does -------------------------------------------------------------------------------------

    cdef int mine(self, uint32_t least, uint32_t most, str what) except -1:
        if self.remote or not least <= self.slot.state <= most:
            raise ValueError(f"this fill is not open for {what}")

    def start(self, draft not None, length):
        cdef Space* s = &self.memory.s
        cdef Record t
        cdef uint64_t nblocks = 0
        cdef uint64_t run_bytes = 0
        cdef uint64_t body = 0
        cdef tuple text
        cdef bint fits
        if self.remote or self.slot.state != S_WAITING:
            raise ValueError("this fill has been started before")
        text = read_draft(draft, self.stamp, self.key, &t)
        fits = text is not None
        if length is not None:
            body = length
        if self.slot == &self.own:
            self.why = "busy"
            return False
        if not (self.slot.flags & FILL_DETACHED):
            if not (fits and body <= largest_body(&self.memory.s)
                    and plan_fill(t.key_len, t.head_len, t.meta_len, body, &nblocks, &run_bytes)):
                self.why = "too-large"
                return False
        if fits:
            if length is None:
                nblocks = 0
                run_bytes = lead(t.key_len, t.head_len, t.meta_len, 0)
                run_bytes = FIRST_RUN if run_bytes <= FIRST_RUN else max(<uint64_t> SECOND_RUN, run_bytes)
            elif self.slot.flags & FILL_DETACHED:
                nblocks = 0
                run_bytes = lead(t.key_len, t.head_len, t.meta_len, 0)
            t.hash0 = self.slot.hash0
            t.body = t.stretches = nblocks
            t.body_length = body
            if ((run_bytes > MOST_RUN or not self.begin_run(&t, text[0], text[1], run_bytes))
                    and not self.slot.flags & FILL_DETACHED):
                self.why = "no-space"
                return False
        self.given = draft
        self.slot.length = ~(<uint64_t> 0) if length is None else body
        store32_relaxed(&self.slot.state, S_STREAMING)
        self.notify()
        return True

    def write(self, data):
        cdef Py_buffer view
        self.mine(S_STREAMING, S_STREAMING, "writing")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if self.slot.arrived + <uint64_t> view.len > self.slot.length:
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
        cdef Space* s = &self.memory.s
        cdef Record t
        cdef Record* r = NULL
        cdef FillSlot* f = self.slot
        cdef tuple text
        cdef bint pinned = False
        self.mine(S_STREAMING, S_STREAMING, "committing")
        if self.slot.length != ~(<uint64_t> 0) and self.slot.arrived != self.slot.length:
            raise ValueError("a body shorter than the length that the fill was started with")
        if changes:
            self.given = dataclasses.replace(self.given, **changes)
        text = None if changes else as_started(self, &t)
        if text is None:
            text = read_draft(self.given, self.stamp, self.key, &t)
        if not take_lock(s, LOCK_WAIT):
            self.why = "no-space"
            self.end(S_DONE)
            return None
        # by a purge of another worker, too
        if self.is_purged() or not f.flags & FILL_REGISTERED:
            if self.is_purged():
                or32_seq_cst(&f.flags, FILL_PURGED)
            drop_lock(s)
            self.end(S_DONE)
            return None
        t.hash0, t.body_length = f.hash0, f.arrived
        if text is not None:
            r = self.settle(&t, text[0], text[1])
        if r != NULL:
            f.nblocks, f.gone = r.body, 0
            pinned = pin_record(s, r)
            if pinned:
                cdn_step(STEP_SETTLED)
                if f.followers:
                    or32_seq_cst(&r.pins, PIN_FOLLOWED)
                self.memory.reveal(r)
                f.nblocks = 0
                store64_release(&f.run, granule_of(s, r))
                f.flags = (f.flags | FILL_PUBLISHED) & ~<uint32_t> FILL_REGISTERED
                store32_relaxed(&f.state, S_COMMITTED)
        if not pinned:
            drop_lock(s)
            self.why = "no-space"
            self.end(S_DONE)
            return None
        self.wake_followers()
        self.own = f[0]
        self.slot = &self.own
        disown(s, f)
        drop_lock(s)
        self.entry = entry_of(self.memory, r)
        self.memory.told(self.entry)
        self.end(S_COMMITTED)
        return self.entry

    cdef bint store_whole(self, object draft, Record* t, bytes head, bytes meta, const char* body,
                          uint64_t n) except -1:
        """`start`, `write` and `commit` in one, for a body that is here and fits into a run.

        `t` says what `read_draft` would, but for hash, stamp and lengths. False: nothing has happened, since somebody
        follows it, it was purged, or there is no room at once; then the steps say what becomes of it.
        """
        cdef Space* s = &self.memory.s
        cdef FillSlot* f = self.slot
        cdef Record* r = NULL
        cdef uint64_t nblocks
        cdef uint64_t nquarters
        cdef uint64_t run_bytes
        if self.remote or f == &self.own or f.state != S_WAITING or f.flags & FILL_DETACHED or self.callbacks:
            return False
        if max(PyBytes_GET_SIZE(self.key), PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(meta)) > 0xffff:
            return False
        t.key_len, t.head_len, t.meta_len = PyBytes_GET_SIZE(self.key), PyBytes_GET_SIZE(head), PyBytes_GET_SIZE(meta)
        t.stamp, t.hash0, t.body_length = record_stamp(self.stamp), f.hash0, n
        if not plan(NULL, t.key_len, t.head_len, t.meta_len, n, &nblocks, &nquarters, &run_bytes) or nblocks:
            return False
        if not take_lock(s, LOCK_WAIT):
            return False
        # nobody can come to follow it while the lock is held
        if f.followers == 0 and f.flags & FILL_REGISTERED and not self.is_purged():
            r = self.memory.lay(t, self.key, head, meta, body)
            if r != NULL and not pin_record(s, r):
                free_record(s, r)
                r = NULL
        if r == NULL:
            drop_lock(s)
            return False
        cdn_step(STEP_SETTLED)
        self.memory.reveal(r)
        f.length = f.arrived = n
        self.own = f[0]
        self.slot = &self.own
        disown(s, f)
        drop_lock(s)
        self.given = draft
        self.entry = entry_of(self.memory, r)
        self.memory.told(self.entry)
        self.end(S_COMMITTED)
        return True

    def store_at_once(self, draft not None, bytes body not None):
        cdef Record t
        cdef tuple text = read_draft(draft, self.stamp, self.key, &t)
        return text is not None and self.store_whole(draft, &t, text[0], text[1], PyBytes_AS_STRING(body),
                                                     PyBytes_GET_SIZE(body))

    def abort(self, str reason not None):
        self.give_up(reason)

    cdef int give_up(self, str reason) except -1:
        if self.remote or self.slot.state > S_STREAMING:
            return 0
        if self.why is None:
            self.why = reason
        add64_both(&self.memory.s.top.aborts, 1)
        self.end(S_ABORTED)
        self.let_go()

    def detach(self, str reason="too-large"):
        if self.remote or self.slot.state > S_STREAMING or (
                self.slot.flags & FILL_DETACHED and self.slot != &self.own):
            return
        if not self.is_purged():
            self.why = reason
        self.unregister()
        or32_seq_cst(&self.slot.flags, FILL_DETACHED)
        self.notify()

    def release_before(self, uint64_t offset):
        cdef Space* s = &self.memory.s
        cdef uint64_t upto = min(offset, self.slot.arrived) // BLOCK_BYTES
        if not self.detached or self.remote:
            raise ValueError("only a detached fill gives memory back before its end")
        if upto > self.slot.nblocks:
            upto = self.slot.nblocks
        if upto <= self.slot.gone or load64_acquire(&self.slot.followers) or not take_lock(s, LOCK_WAIT):
            return
        give_blocks(s, self.slot, <uint32_t> upto)
        drop_lock(s)

    # -- inside ---------------------------------------------------------------------------------------------------

    cdef int notify(self) except -1:
        self.wake_followers()
        if not self.callbacks:
            return 0
        for callback in list(self.callbacks):
            call(callback)

    cdef void wake_followers(self) noexcept:
        if not self.remote and self.slot != &self.own:
            fence_seq_cst()
            wake_all(&self.memory.s, load64_acquire(&self.slot.followers))

    cdef int unregister(self) except -1:
        if self.registered:
            self.registered = False
            if self.memory.fills.get(self.key) == <size_t> <PyObject*> self:
                del self.memory.fills[self.key]
            and32_seq_cst(&self.slot.flags, ~<uint32_t> FILL_REGISTERED)

    cdef int end(self, uint32_t state) except -1:
        cdef bytes why
        self.unregister()
        if self.why is not None and self.slot != &self.own:
            why = (<str> self.why).encode("ascii", "replace")
            set_reason(self.slot, PyBytes_AS_STRING(why), PyBytes_GET_SIZE(why))
        store32_relaxed(&self.slot.state, state)
        self.notify()

    cdef int void(self, str reason) except -1:
        """A purge came: those who read go on, nobody joins, and it is not stored."""
        self.why = reason
        or32_seq_cst(&self.slot.flags, FILL_PURGED)
        cdn_step(STEP_VOIDED)
        self.unregister()
        self.notify()

    cdef void let_go(self) noexcept:
        """Of the slot and what it holds."""
        cdef Space* s = &self.memory.s
        cdef FillSlot* f = self.slot
        if f == &self.own:
            return
        self.own = f[0]
        self.slot = &self.own
        if take_lock(s, LOCK_WAIT):
            disown(s, f)
            drop_lock(s)
        else:
            or32_seq_cst(&f.flags, FILL_LEFT)
            s.owing = True

    cdef bint begin_run(self, const Record* t, bytes head, bytes meta, uint64_t run_bytes) except -1:
        """The run that head and meta are in from now on, in the place of the one with the key alone."""
        cdef Space* s = &self.memory.s
        cdef Record* old
        cdef Record* r
        if not take_lock(s, LOCK_WAIT):
            return False
        r = make_run(s, granules(run_bytes))
        if r != NULL:
            write_run(r, t, self.key, head, meta)
            old = fill_run(s, self.slot)
            cdn_step(STEP_FILL_STARTED)
            store64_release(&self.slot.run, granule_of(s, r))
            give_run(s, old)
        drop_lock(s)
        return r != NULL

    cdef int append(self, const char* data, uint64_t n) except -1:
        cdef FillSlot* f = self.slot
        cdef uint64_t at = f.arrived
        cdef uint64_t total = at + n
        cdef uint64_t whole
        cdef uint64_t here
        if total > largest_body(&self.memory.s) and not f.flags & FILL_DETACHED:
            self.why = "too-large"
            return False
        if n == 0:
            return True
        if not self.room_for(total):
            if not self.is_purged() and not f.flags & FILL_DETACHED:
                self.why = "no-space"
            return False
        whole = fill_whole(&self.memory.s, f)
        while n:
            if at >= whole:
                memcpy(record_body(fill_run(&self.memory.s, f)) + (at - whole), data, n)
                break
            here = min(n, <uint64_t> BLOCK_BYTES - at % BLOCK_BYTES)
            memcpy(fill_block(&self.memory.s, f, at), data, here)
            at += here
            data += here
            n -= here
        store64_release(&f.arrived, total)
        return True

    cdef bint has_room(self, uint64_t total) noexcept:
        cdef FillSlot* f = self.slot
        cdef Record* r = fill_run(&self.memory.s, f)
        cdef uint64_t room = <uint64_t> r.run * GRANULE - lead(r.key_len, r.head_len, r.meta_len, r.body)
        if r.body and room < GRANULE:
            room = 0        # what rounding has left behind a list
        if f.nblocks - f.base < r.body:
            return total <= <uint64_t> f.nblocks * BLOCK_BYTES
        return total <= (<uint64_t> r.body + f.base) * BLOCK_BYTES + room

    cdef int room_for(self, uint64_t total) except -1:
        """Memory for a body of `total` bytes: a run while it is small, blocks from then on."""
        cdef Space* s = &self.memory.s
        cdef bint done
        if self.has_room(total):
            return True
        if not take_lock(s, LOCK_WAIT):
            return False
        done = self.grow(total)
        drop_lock(s)
        return done

    cdef bint grow(self, uint64_t total) noexcept:
        cdef Space* s = &self.memory.s
        cdef FillSlot* f = self.slot
        cdef Record* r
        cdef uint64_t before
        # how long it will be; of an unknown length what is there already says most
        cdef uint64_t size = 2 * total if f.length == ~(<uint64_t> 0) or f.flags & FILL_DETACHED else f.length
        cdef int64_t block
        while not self.has_room(total):
            r = fill_run(s, f)
            before = lead(r.key_len, r.head_len, r.meta_len, 0)
            if r.body == 0 and before + total <= SECOND_RUN and not f.flags & FILL_DETACHED:
                if not self.renew_run(SECOND_RUN, 0):
                    return False
                continue
            if r.body == 0 or f.nblocks - f.base == r.body:
                if not self.longer_list(total):
                    return False
                continue
            block = make_block(
                s, <int64_t> fill_list(s, f)[f.nblocks - 1 - f.base] if f.nblocks > f.gone else -1,
                (size - min(size, <uint64_t> f.nblocks * BLOCK_BYTES)) // BLOCK_BYTES + 1)
            if block < 0:
                return False
            block_refs(s, block)[0] = 0
            fill_list(s, f)[f.nblocks - f.base] = <uint32_t> block
            f.nblocks += 1
        return True

    cdef bint longer_list(self, uint64_t total) noexcept:
        """Room for the numbers of more blocks; what lies in the run goes to blocks."""
        cdef Space* s = &self.memory.s
        cdef FillSlot* f = self.slot
        cdef Record* r = fill_run(s, f)
        cdef uint64_t n = r.body
        if f.flags & FILL_DETACHED and f.gone - f.base > n // 2:
            memmove(record_blocks(r), record_blocks(r) + (f.gone - f.base), (f.nblocks - f.gone) * sizeof(uint32_t))
            f.base = f.gone
            return True
        n = FIRST_LIST if n < FIRST_LIST and total // BLOCK_BYTES < FIRST_LIST else MOST_BLOCKS
        while n > r.body and lead(r.key_len, r.head_len, r.meta_len, n) > MOST_RUN:
            n //= 2
        return n > r.body and self.renew_run(lead(r.key_len, r.head_len, r.meta_len, n), <uint32_t> n)

    cdef bint renew_run(self, uint64_t run_bytes, uint32_t nblocks) noexcept:
        """Another run with the same key, head and meta: with more room, or for a list of so many blocks."""
        cdef Space* s = &self.memory.s
        cdef FillSlot* f = self.slot
        cdef Record* old = fill_run(s, f)
        cdef Record* r = make_run(s, granules(run_bytes))
        cdef uint64_t text = old.key_len + old.head_len + old.meta_len
        cdef uint64_t at = 0
        cdef uint64_t here
        cdef uint64_t made = 0
        cdef int64_t block = -1
        cdef uint16_t run
        if r == NULL:
            return False
        run = r.run
        memcpy(r, old, sizeof(Record) + text)
        r.run = run
        r.body = r.stretches = nblocks
        if nblocks == 0:
            memcpy(record_body(r), record_body(old), f.arrived)
        elif old.body:
            memcpy(record_blocks(r), record_blocks(old), (f.nblocks - f.base) * sizeof(uint32_t))
        else:
            while at < f.arrived:
                block = make_block(s, block, 1)
                if block < 0:
                    while made > 0:
                        made -= 1
                        give_block(s, record_blocks(r)[made])
                    give_run(s, r)
                    return False
                record_blocks(r)[made] = <uint32_t> block
                made += 1
                here = min(f.arrived - at, <uint64_t> BLOCK_BYTES)
                memcpy(block_bytes(s, block), record_body(old) + at, here)
                at += here
        cdn_step(STEP_FILL_GROWN)
        store64_release(&f.run, granule_of(s, r))
        if old.body == 0:
            f.nblocks = made
        outgrow(s, f, old)
        return True

    cdef Record* settle(self, Record* t, bytes head, bytes meta) except? NULL:
        """What has arrived, laid out for publishing; NULL: no room, and everything is as it was."""
        cdef Space* s = &self.memory.s
        cdef FillSlot* f = self.slot
        cdef Record* old = fill_run(s, f)
        cdef uint64_t nblocks
        cdef uint64_t nquarters
        cdef uint64_t run_bytes
        cdef uint64_t shared
        cdef uint64_t stretches
        cdef uint64_t whole
        cdef uint64_t listed
        cdef int64_t block = -1
        cdef int spare
        cdef Record* r
        if not plan(s if f.followers == 0 else NULL, t.key_len, t.head_len, t.meta_len, t.body_length,
                    &nblocks, &nquarters, &run_bytes):
            return NULL
        t.body, t.quarters, t.stretches = nblocks, nquarters, nblocks
        whole = nblocks * BLOCK_BYTES
        listed = whole + nquarters * QUARTER_BYTES
        shared = min(nblocks, <uint64_t> f.nblocks)
        stretches = join_blocks(fill_list(s, f), shared, NULL)
        if (old.head_len == t.head_len and old.meta_len == t.meta_len and old.body == nblocks == f.nblocks and nquarters == 0
                and nblocks - stretches < WORTH_JOINING and (f.followers == 0 or same_text(old, head, meta))):
            # it lies where it belongs: cut what is too much
            spare = old.run - granules(run_bytes)
            if spare > 0:
                cut_run(s, old, spare)
            write_run(old, t, self.key, head, meta)
            if nblocks:
                block_refs(s, record_blocks(old)[0])[0] = 1
            return old
        if nblocks > f.nblocks:         # the tail was to lie in the run, but the head has grown
            block = make_block(s, <int64_t> fill_list(s, f)[f.nblocks - 1] if f.nblocks else -1, 1)
            if block < 0:
                return NULL
            stretches += 1
            fill_copy(s, f, f.nblocks * BLOCK_BYTES, block_bytes(s, block), t.body_length - f.nblocks * BLOCK_BYTES)
        t.stretches = stretches
        r = make_run(s, granules(run_bytes - sizeof(uint32_t) * (nblocks - stretches)))
        if r == NULL:
            if block >= 0:
                give_block(s, block)
            return NULL
        write_run(r, t, self.key, head, meta)
        if not make_quarters(s, r):
            if block >= 0:
                give_block(s, block)
            give_run(s, r)
            return NULL
        if nblocks:
            join_blocks(fill_list(s, f), shared, record_blocks(r))
            if block >= 0:
                record_blocks(r)[stretches - 1] = <uint32_t> block
            block_refs(s, first_of(record_blocks(r)[0]))[0] = 1
        while whole < listed:
            fill_copy(s, f, whole, quarter_bytes(s, record_quarters(r)[nquarters - (listed - whole) // QUARTER_BYTES]),
                      min(<uint64_t> QUARTER_BYTES, t.body_length - whole))
            whole += QUARTER_BYTES
        if t.body_length > listed:
            fill_copy(s, f, listed, record_body(r), t.body_length - listed)
        # the bytes of its other blocks, of one at most if anybody follows, are in quarters and in the run now
        if f.nblocks > shared and f.followers:
            f.extra = fill_list(s, f)[shared] + 1
        while f.nblocks > shared:
            f.nblocks -= 1
            if f.followers == 0:
                give_block(s, fill_list(s, f)[f.nblocks])
        store64_release(&f.run, granule_of(s, r))
        outgrow(s, f, old)
        return r
