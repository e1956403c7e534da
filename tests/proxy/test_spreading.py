"""Who gets a new connection: the numbers that decide it, and that none is lost on its way to another worker."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from cdn.proxy._front import Board, Census
from cdn.proxy.spreading import PATIENCE, Doors, Spread
from tests.tier.scripted import until


def loaded(board: Board, number: int) -> Census:
    """This process has so many connections."""
    census = Census(10_000, 10_000, board)
    for _ in range(number):
        census.enter("192.0.2.1")
    return census


def test_who_has_more_than_its_share_is_told_who_has_fewest() -> None:
    board = Board(3)
    assert board.lightest() is None, "nobody's yet"
    board.sit(1)
    census = loaded(board, 7)
    assert board.lightest() is None
    census.enter("192.0.2.1")
    assert board.open(1) == 8
    assert board.lightest() == 0
    board.coming(0, 1)
    assert board.lightest() == 2, "what is on its way to one counts"
    board.coming(2, 2)
    assert board.lightest() is None
    census.enter("192.0.2.1")
    assert board.lightest() == 0
    board.shun(0, True)
    assert board.lightest() is None
    board.shun(0, False)
    for _ in range(9):
        census.leave("192.0.2.1")
    assert board.open(1) == 0
    with pytest.raises(ValueError, match="no such worker"):
        board.sit(3)


def test_an_eighth_more_than_the_least_is_nobodys_business() -> None:
    board = Board(2)
    board.coming(1, 800)
    board.sit(0)
    census = loaded(board, 907)
    assert board.lightest() is None
    census.enter("192.0.2.1")
    assert board.lightest() == 1


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        other.settimeout(10)
        yield one, other


def test_what_a_worker_does_not_take_is_taken_back() -> None:
    """The other worker hangs from the start. Whoever was given to it is served here, and it is given no more."""

    async def run() -> None:
        doors = Doors(2)
        doors.board.sit(0)
        loaded(doors.board, 20)
        taken: list[tuple[int, socket.socket]] = []
        came = asyncio.Event()

        def take(listener: int, sock: socket.socket) -> None:
            taken.append((listener, sock))
            came.set()

        spread = Spread(doors, asyncio.get_running_loop(), take)
        with pair() as (ours, client):
            assert spread.give(3, ours.fileno())
            assert doors.board.coming(1) == 1
            ours.close()
            await asyncio.wait_for(came.wait(), 10)
            assert doors.board.coming(1) == 0
            ((listener, sock),) = taken
            assert listener == 3
            with sock:
                sock.send(b"here")
                assert client.recv(10) == b"here"
        with pair() as (ours, _):
            assert not spread.give(0, ours.fileno())
        spread.close()
        doors.close()

    asyncio.run(run())


def test_what_comes_through_the_door_is_served() -> None:
    async def run() -> None:
        doors = Doors(2)
        doors.board.sit(0)
        came: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        spread = Spread(doors, asyncio.get_running_loop(), lambda listener, sock: came.set_result(sock))
        pid = os.fork()
        if pid == 0:  # the other worker, which has accepted too many
            try:
                doors.board.sit(1)
                loaded(doors.board, 20)
                ours, other = socket.socketpair()
                other.send(b"a request")
                giver = Spread(doors, asyncio.new_event_loop(), lambda listener, sock: None)
                os._exit(0 if giver.give(0, ours.fileno()) else 1)
            finally:
                os._exit(2)
        sock = await asyncio.wait_for(came, 20)
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]) == 0, (
            "it has given it"
        )
        with sock:
            assert sock.recv(100) == b"a request"
        assert doors.board.coming(0) == 0
        spread.close()
        doors.close()

    asyncio.run(run())


def test_who_ends_takes_what_waits_behind_any_door() -> None:
    async def run() -> None:
        doors = Doors(3)
        doors.board.sit(0)
        loaded(doors.board, 20)
        taken: list[socket.socket] = []
        spread = Spread(doors, asyncio.get_running_loop(), lambda listener, sock: taken.append(sock))
        with pair() as (ours, _), pair() as (more, _):
            assert spread.give(0, ours.fileno())
            assert spread.give(0, more.fileno())
            assert [doors.board.coming(worker) for worker in range(3)] == [0, 1, 1]
            spread.end()
            assert len(taken) == 2
            assert not spread.give(0, ours.fileno())
            await asyncio.sleep(2 * PATIENCE)  # nothing is left to be looked after
            for sock in taken:
                sock.close()
        spread.close()
        doors.close()

    asyncio.run(run())


@contextmanager
def no_descriptor() -> Iterator[None]:
    """This process may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)


@pytest.mark.parametrize("whose", ["mine", "another's"])
def test_what_comes_while_there_is_no_descriptor_for_it_is_not_lost(whose: str) -> None:
    """The kernel drops what is received then, and the client was met with a closed connection."""

    async def run() -> None:
        doors = Doors(2)
        doors.board.sit(0)
        loaded(doors.board, 20)
        taken: list[socket.socket] = []
        spread = Spread(doors, asyncio.get_running_loop(), lambda listener, sock: taken.append(sock))
        with pair() as (ours, client):
            if whose == "mine":
                doors.board.coming(0, 1)
                socket.send_fds(doors.outside[0], [b"\0"], [ours.fileno()])
            else:
                assert spread.give(0, ours.fileno())  # to one that does not take it
            ours.close()
            with no_descriptor():
                await asyncio.sleep(3 * PATIENCE)
                assert not taken
            await until(lambda: bool(taken), 10)
            (sock,) = taken
            with sock:
                sock.send(b"here")
                assert client.recv(10) == b"here"
            assert [doors.board.coming(worker) for worker in range(2)] == [0, 0]
        spread.close()
        doors.close()

    asyncio.run(run())
