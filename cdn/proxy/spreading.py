"""Which worker serves a connection: who accepted it, unless that one has more than its share and gives it away.

All workers accept from the same sockets, so whoever looks first takes whatever is in the queue: of connections that
stay, a worker that is idle for a moment may take nearly all. A new connection is then handed to the worker with fewest,
before a byte of it is read. What a worker has not taken in time is taken back by the giver, so that nobody waits for
one that hangs or has died. Who has no descriptor free takes nothing, since the kernel would drop it. Must not know
what a connection is for.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from cdn.proxy._front import Board

PATIENCE = 0.05  # seconds that a worker has to take what it was given
PAUSE = 1.0  # and for which one that has not is given nothing
TURN = 64  # connections taken before the loop has its turn


class Doors:
    """One for each worker, made before they are: what is sent into it is for that worker, but any may look into it."""

    def __init__(self, workers: int) -> None:
        self.board = Board(workers)
        self.inside: list[socket.socket] = []
        self.outside: list[socket.socket] = []
        for _ in range(workers):
            inside, outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            inside.setblocking(False)
            outside.setblocking(False)
            self.inside.append(inside)
            self.outside.append(outside)

    def close(self) -> None:
        for door in (*self.inside, *self.outside):
            door.close()


class Spread:
    """One per worker, inside its loop; `take(listener, socket)` serves what has come through its door."""

    def __init__(
        self, doors: Doors, loop: asyncio.AbstractEventLoop, take: Callable[[int, socket.socket], None]
    ) -> None:
        self._doors = doors
        self._board = doors.board
        self._loop = loop
        self._take = take
        self._timers: dict[int, asyncio.TimerHandle] = {}  # until a worker's door is looked at
        self._pauses: dict[int, asyncio.TimerHandle] = {}
        self._giving = True
        self._breath: asyncio.TimerHandle | None = None  # until there may be descriptors again
        self._listen()

    def _listen(self) -> None:
        self._breath = None
        self._loop.add_reader(self._doors.inside[self._board.me], self._arrived)

    def give(self, listener: int, fd: int) -> bool:
        """Give a connection, of which nothing has been read, to the worker with fewest. False: it stays here."""
        to = self._board.lightest() if self._giving else None
        if to is None:
            return False
        self._board.coming(to, 1)
        try:
            socket.send_fds(self._doors.outside[to], [bytes((listener,))], [fd])
        except OSError:  # too many are in there already
            self._board.coming(to, -1)
            return False
        if to not in self._timers:
            self._timers[to] = self._loop.call_later(PATIENCE, self._look_after, to)
        return True

    def _arrived(self) -> None:
        me = self._board.me
        if not self._empty(me, TURN) and not _has_room(self._doors.inside[me]):
            self._loop.remove_reader(self._doors.inside[me])
            self._breath = self._loop.call_later(PATIENCE, self._listen)

    def _empty(self, worker: int, most: int) -> int:
        """Serve up to so many of those that wait behind a worker's door; how many it has got."""
        door = self._doors.inside[worker]
        for n in range(most):
            if not _has_room(door):
                return n
            try:
                message, fds, _, _ = socket.recv_fds(door, 1, 1)
            except OSError:
                return n
            self._board.coming(worker, -1)
            for fd in fds:
                self._take(message[0], socket.socket(fileno=fd))
        return most

    def _look_after(self, worker: int) -> None:
        """Take back what a worker has not taken, and let it be for a while then."""
        del self._timers[worker]
        if self._board.coming(worker) <= 0:
            return
        if self._empty(worker, 1 << 20) and worker not in self._pauses:
            self._board.shun(worker, True)
            self._pauses[worker] = self._loop.call_later(PAUSE, self._trust, worker)
        if not _has_room(self._doors.inside[worker]):
            self._timers[worker] = self._loop.call_later(PATIENCE, self._look_after, worker)

    def _trust(self, worker: int) -> None:
        del self._pauses[worker]
        self._board.shun(worker, False)

    def end(self) -> None:
        """Give no more, and serve whatever waits behind any door: who was to take it may have ended."""
        self._giving = False
        for worker in range(self._board.workers):
            self._empty(worker, 1 << 20)

    def close(self) -> None:
        self._giving = False
        self._loop.remove_reader(self._doors.inside[self._board.me])
        for timer in (*self._timers.values(), *self._pauses.values(), self._breath):
            if timer is not None:
                timer.cancel()


def _has_room(door: socket.socket) -> bool:
    """Whether this process may open another descriptor."""
    try:
        os.close(os.dup(door.fileno()))
    except OSError:
        return False
    return True
