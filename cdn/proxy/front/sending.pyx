# Part of cdn/proxy/_front.pyx: bytes to the socket.
#
# On plain TCP an empty transport is bypassed: send(2) copies from the store's memory at once, so no buffer and no pin
# outlives the call. When the socket is full, a small copy goes through the transport, which tells when it has left.


@cython.no_gc_clear
cdef class Transfer:
    def __dealloc__(self):
        if self.record != NULL:
            self.lane.memory.unpin(self.record)


# hot
cdef int send_bytes(Connection c, const char* data, size_t n, bint more=False) except -1:
    """All of it: now as far as the socket takes it, the rest through the transport, in order.

    `more`: the next bytes follow at once, and may leave in the same segment.
    """
    cdef ssize_t sent = 0
    c.written += n
    c.front.census.bytes_out += n
    if c.queued and c.fd >= 0 and c.transport.get_write_buffer_size() == 0:  # python: transport
        c.queued = False
    if c.fd >= 0 and not c.queued:
        while True:
            sent = send(c.fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL | (MSG_MORE if more else 0))
            if sent >= 0 or errno != EINTR:
                break
        if <size_t>sent == n:
            return 0
        if sent < 0:
            if errno != EAGAIN:
                c._abort()
                return 0
            sent = 0
    c.queued = True
    c.transport.write(PyBytes_FromStringAndSize(data + sent, n - sent))  # python: transport


cdef int send_pieces(Connection c, iovec* pieces, int count) except -1:
    """Several pieces, one behind the other, in one call where the socket takes them."""
    cdef msghdr message
    cdef size_t n = 0
    cdef ssize_t sent = 0
    cdef int i
    if c.queued and c.fd >= 0 and c.transport.get_write_buffer_size() == 0:
        c.queued = False
    for i in range(count):
        n += pieces[i].iov_len
    c.written += n
    c.front.census.bytes_out += n
    if c.fd >= 0 and not c.queued:
        memset(&message, 0, sizeof(msghdr))
        message.msg_iov = pieces
        message.msg_iovlen = count
        while True:
            sent = sendmsg(c.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent >= 0 or errno != EINTR:
                break
        if <size_t>sent == n:
            return 0
        if sent < 0:
            if errno != EAGAIN:
                c._abort()
                return 0
            sent = 0
    c.queued = True
    for i in range(count):
        if <size_t>sent >= pieces[i].iov_len:
            sent -= pieces[i].iov_len
        else:
            c.transport.write(PyBytes_FromStringAndSize(<char*>pieces[i].iov_base + sent, pieces[i].iov_len - sent))
            sent = 0


# hot
cdef int start_transfer(Connection c, Answer* answer) except -1:
    """Send an answer whose body is the store's, while other connections have their turn."""
    cdef Transfer transfer = Transfer.__new__(Transfer)
    transfer.lane = c.front.lane  # python: ownership
    transfer.record = answer.record
    transfer.offset = answer.offset
    transfer.left = answer.length
    if transfer.left > NEAR_BODY and not c.measured:
        keep_near(c)
    c.send = transfer  # python: ownership
    c.state = SENDING
    c.written += answer.out_len
    c.front.census.bytes_out += answer.out_len
    c.still = c.marked = transfer.began = monotonic()
    c.mark = transfer.mark = c.written
    c._due(c.marked + GRACE)
    pump_held(c, answer.out, answer.out_len)


# hot
cdef void keep_near(Connection c) noexcept:
    """Have no more under way to a client on this machine than stays in the cache that both ends share.

    The kernel lets a send buffer grow to megabytes while the client is slower, and what waits in it has left the cache by
    the time it is read. Nothing is lost so near: 256 KiB in 50 µs are 5 GB/s.
    """
    cdef tcp_info info
    cdef unsigned int size = sizeof(tcp_info)
    cdef int buffer = NEAR_BUFFER
    c.measured = True
    if c.fd >= 0:
        memset(&info, 0, sizeof(tcp_info))
        if getsockopt(c.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 and 0 < info.tcpi_min_rtt < NEAR:
            setsockopt(c.fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(int))


cdef bytes _take(Transfer transfer, uint64_t most):
    """A copy of the next bytes."""
    cdef iovec iov[8]
    cdef uint64_t n = transfer.left if transfer.left < most else most
    cdef int pieces = transfer.lane.memory.body_iov(transfer.record, transfer.offset, n, iov, 8)
    cdef int i
    cdef uint64_t have = 0
    for i in range(pieces):
        have += iov[i].iov_len
    cdef bytes data = PyBytes_FromStringAndSize(NULL, have)
    cdef char* dst = PyBytes_AS_STRING(data)
    for i in range(pieces):
        memcpy(dst, iov[i].iov_base, iov[i].iov_len)
        dst += iov[i].iov_len
    transfer.offset += have
    transfer.left -= have
    return data


# hot
cdef int pump(Connection c) except -1:
    """Send the stored body until it is out, the socket is full or the turn is over."""
    cdef Transfer transfer = c.send  # python: ownership
    if transfer.loose is None:
        return pump_held(c, NULL, 0)
    if not regain(transfer):  # python: ending
        c.front.census.cut_for_memory += 1
        c._abort()
        return 0
    pump_held(c, NULL, 0)
    if c.send is transfer:
        let_go(transfer)  # python: ownership


# hot
cdef int pump_held(Connection c, const char* head, size_t head_left) except -1:
    """The same of a record that is pinned, behind what is left of the answer's head."""
    cdef Transfer transfer = c.send  # python: ownership
    cdef msghdr message
    cdef iovec iov[9]
    cdef iovec* body = iov + 1
    cdef uint64_t want, turn = 0, i
    cdef ssize_t sent
    cdef bytes data
    memset(&message, 0, sizeof(msghdr))
    while transfer.left:
        if c.paused or c.state != SENDING:
            return 0
        if turn >= TURN:
            c.front.loop.call_soon(c._turn)  # python: callback
            return 0
        if c.queued and c.fd >= 0 and c.transport.get_write_buffer_size() == 0:  # python: transport
            c.queued = False
        if c.fd >= 0 and not c.queued:
            want = transfer.left if transfer.left < SLICE else SLICE
            message.msg_iov = body
            message.msg_iovlen = transfer.lane.memory.body_iov(transfer.record, transfer.offset, want, body, 8)
            want = head_left
            for i in range(message.msg_iovlen):
                want += body[i].iov_len
            if head_left:
                iov[0].iov_base = <void*>head
                iov[0].iov_len = head_left
                message.msg_iov = iov
                message.msg_iovlen += 1
            sent = sendmsg(c.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    c._abort()
                    return 0
                sent = 0
            want -= sent
            if head_left:
                if <size_t>sent < head_left:
                    # full already: what is left of the head goes by the transport, which tells when there is room
                    c.queued = True
                    c.transport.set_write_buffer_limits(0)  # python: transport
                    c.transport.write(PyBytes_FromStringAndSize(head + sent, head_left - sent))  # python: transport
                    head_left = 0
                    continue
                sent -= head_left
                head_left = 0
            transfer.offset += sent
            transfer.left -= sent
            c.written += sent
            c.front.census.bytes_out += sent
            turn += sent
            if want == 0:
                continue
            # full: let the transport tell when it takes more
            c.transport.set_write_buffer_limits(0)  # python: transport
            data = _take(transfer, NOTICE)  # python: transport
        else:
            if head_left:
                c.queued = True
                c.transport.write(PyBytes_FromStringAndSize(head, head_left))  # python: transport
                head_left = 0
                continue
            data = _take(transfer, 64 << 10)  # python: transport
        c.written += PyBytes_GET_SIZE(data)
        c.front.census.bytes_out += PyBytes_GET_SIZE(data)
        turn += PyBytes_GET_SIZE(data)
        c.queued = True
        c.transport.write(data)  # python: transport
    c.send = None  # python: ownership
    if c.state == SENDING:
        if c.fd >= 0:
            c.transport.set_write_buffer_limits(WRITE_HIGH)  # python: transport
        c._next()
