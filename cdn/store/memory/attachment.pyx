# The processes that share a store: which of them is which worker, and what becomes of what a dead one held. Must not know who
# starts them or how they end.


cdef int attach_worker(Memory memory, int worker) except -1:
    if not 0 <= worker < <int> memory.s.top.nworkers:
        raise ValueError(f"the memory store has no slot for worker {worker}")
    if memory.s.me >= 0:
        raise ValueError("this process is attached already")
    if worker_slot(&memory.s, worker).attached and not reap_worker(memory, worker):
        raise RuntimeError(f"worker slot {worker} of the memory store is still in use")
    memory.s.me = worker
    memory.s.random ^= <uint64_t> int.from_bytes(os.urandom(8), "little") | 1
    worker_slot(&memory.s, worker).pid = os.getpid()
    # before the first pin, in the order that pins rely on
    raise64_seq_cst(&memory.s.top.highest, worker + 1)
    swap32_seq_cst(&worker_slot(&memory.s, worker).attached, 1)


cdef bint reap_worker(Memory memory, int worker) except -1:
    cdef WorkerSlot* slot
    if not 0 <= worker < <int> memory.s.top.nworkers:
        raise ValueError(f"the memory store has no slot for worker {worker}")
    slot = worker_slot(&memory.s, worker)
    store32_relaxed(&slot.attached, 0)
    if not take_lock(&memory.s, LONG_WAIT):
        return False
    store32_relaxed(&slot.woken, 0)
    clear_pins(&memory.s, worker)
    lose_fills(&memory.s, worker)
    if memory.s.top.retired:
        sweep_retired(&memory.s)
    drop_lock(&memory.s)
    return True


cdef int hear_news(Memory memory) except -1:
    if memory.s.me < 0:
        return 0
    try:
        os.eventfd_read(memory.s.wakers[memory.s.me])
    except BlockingIOError:
        pass
    swap32_seq_cst(&worker_slot(&memory.s, memory.s.me).woken, 0)
    for pointer in list(memory.following):
        if pointer in memory.following:       # the last one's readers may have let this one go
            look(<Fill> <PyObject*> <size_t> pointer)
