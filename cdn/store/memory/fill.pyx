# A body on its way in, as Python has it: its states, and who is told of a change. Decides which state follows on which; must not
# know where its bytes lie, why it may be stored, or who reads it. The two sides of it are in filler.pyx and follower.pyx.
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

WAITING, STREAMING, COMMITTED, DONE, ABORTED = FillState
cdef tuple STATES = tuple(FillState)


cdef void call(callback) noexcept:
    callback()      # what it raises goes to sys.unraisablehook: it is not the writer's


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
            if self.slot != &self.own:
                stop_following(self)
        else:
            self.give_up("dropped")
            self.let_go()

    # -- what readers see -----------------------------------------------------------------------------------------

    @property
    def state(self):
        return STATES[self.current()]

    cdef uint32_t current(self) noexcept:
        return state_seen(self)

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
        return reason_seen(self)

    @property
    def draft(self):
        return draft_seen(self)

    def subscribe(self, callback):
        if self.callbacks is None:
            self.callbacks = {}     # in order; a key so that many leave cheaply
        self.callbacks[callback] = None

    def unsubscribe(self, callback):
        if self.callbacks is not None:
            self.callbacks.pop(callback, None)

    def read(self, uint64_t offset, uint64_t n):
        return read_arrived(self, offset, n)

    def release(self):
        if self.entry is not None:
            self.released = True
            self.entry = None

    # -- what the filler does -------------------------------------------------------------------------------------

    def start(self, draft not None, length):
        return start_fill(self, draft, length)

    def write(self, data):
        return write_fill(self, data)

    def commit(self, **changes):
        return commit_fill(self, changes)

    cdef bint store_whole(self, object draft, Record* t, bytes head, bytes meta, const char* body,
                          uint64_t n) except -1:
        return fill_at_once(self, draft, t, head, meta, body, n)

    def store_at_once(self, draft not None, bytes body not None):
        cdef Record t
        cdef tuple text = read_draft(draft, self.stamp, self.key, &t)
        return text is not None and self.store_whole(draft, &t, text[0], text[1], PyBytes_AS_STRING(body),
                                                     PyBytes_GET_SIZE(body))

    def abort(self, str reason not None):
        self.give_up(reason)

    def detach(self, str reason="too-large"):
        detach_fill(self, reason)

    def release_before(self, uint64_t offset):
        release_blocks(self, offset)

    # -- from one state to the next -------------------------------------------------------------------------------

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

    cdef int give_up(self, str reason) except -1:
        if self.remote or self.slot.state > S_STREAMING:
            return 0
        if self.why is None:
            self.why = reason
        add64_both(&self.memory.s.top.aborts, 1)
        self.end(S_ABORTED)
        self.let_go()

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
