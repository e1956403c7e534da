"""Lines between the processes of a node: orders and reports with the supervisor, questions and answers with a worker.

Decides only framing. Both ends of every line are processes of one node over a pair of sockets without a name, which is
why pickles may travel here. What the messages mean is not known here.

A `Line` carries small JSON messages, some with a file descriptor, and never blocks: for the supervisor, which must not
wait for anybody. A `Caller` asks the functions of an `Answerer` at the other end, many questions at once.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

_LENGTH = struct.Struct("<I")
PIECE = 64 << 10
MOST_FDS = 8  # that one read takes

Message = dict[str, Any]


class LineEnd(ConnectionError):  # noqa: N818 (not always an error: how a line ends)
    """The other end is gone, or does not read any more."""


class Line:
    """One end of a line. `receive` gives what has arrived, `send` gives up on an end that does not read."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._pending = bytearray()
        self._fds: deque[int] = deque()

    @staticmethod
    def pair() -> tuple[Line, Line]:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return Line(one), Line(other)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Message, fd: int | None = None) -> None:
        """The whole message at once, with a descriptor that the other end gets a copy of; LineEnd."""
        text = json.dumps({**message, "fd": fd is not None}).encode()
        data = _LENGTH.pack(len(text)) + text
        carried = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            sent = self._sock.sendmsg([data], carried)
        except OSError as error:
            raise LineEnd(str(error)) from error
        if sent < len(data):
            raise LineEnd("the other end does not read")

    def receive(self) -> list[tuple[Message, int | None]]:
        """What has arrived, with the descriptors, which are the caller's from here on; LineEnd at the end."""
        ended = False
        while True:
            try:
                data, carried, _flags, _address = self._sock.recvmsg(
                    PIECE, socket.CMSG_SPACE(MOST_FDS * 4), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                break
            except OSError:
                ended = True
                break
            for level, kind, payload in carried:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                    self._fds.extend(fds)
            if not data:
                ended = True
                break
            self._pending += data
        messages: list[tuple[Message, int | None]] = []
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if len(self._pending) < _LENGTH.size + length:
                break
            message = json.loads(self._pending[_LENGTH.size : _LENGTH.size + length])
            del self._pending[: _LENGTH.size + length]
            messages.append((message, self._fds.popleft() if message.pop("fd") else None))
        if ended and not messages:
            raise LineEnd("the other end is gone")
        return messages

    def close(self) -> None:
        self._sock.close()
        while self._fds:
            os.close(self._fds.popleft())


class Gone(ConnectionError):  # noqa: N818 - what has become of the other end
    """Whoever was asked is not there any more, or has not answered in time."""


class Caller:
    """Asks the `Answerer` at the other end of `sock`. Make it inside the running loop; `on_end` hears of its end."""

    def __init__(self, sock: socket.socket, on_end: Callable[[], None] | None = None) -> None:
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self._writer: asyncio.StreamWriter | None = None
        self._on_end = on_end
        self.ended = False
        self._task = asyncio.get_running_loop().create_task(self._listen(sock))
        self._sock = sock
        self._opened = asyncio.Event()

    async def ask(self, name: str, *args: Any, timeout: float) -> Any:
        """What the function of that name returns. ValueError as it raised it, Gone without an answer in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._opened.wait()
                if self.ended or self._writer is None:
                    raise Gone("it has ended")
                self._next += 1
                number = self._next
                answer = self._questions[number] = asyncio.get_running_loop().create_future()
                try:
                    self._writer.write(_packed((number, name, args)))
                    await self._writer.drain()
                    good, value = await answer
                finally:
                    self._questions.pop(number, None)
        except TimeoutError:
            raise Gone(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise Gone(str(error)) from error
        if not good:
            raise ValueError(value)
        return value

    async def _listen(self, sock: socket.socket) -> None:
        try:
            reader, self._writer = await asyncio.open_unix_connection(sock=sock)
            self._opened.set()
            while True:
                number, good, value = await _unpacked(reader)
                waiting = self._questions.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result((good, value))
        except (OSError, EOFError):
            pass
        finally:
            self.ended = True
            self._opened.set()
            for question in self._questions.values():
                if not question.done():
                    question.set_exception(Gone("it has ended"))
            if self._writer is not None:
                self._writer.close()
            if self._on_end is not None:
                self._on_end()

    async def close(self) -> None:
        self._on_end = None
        self._task.cancel()
        await asyncio.wait((self._task,))


class Answerer:
    """Answers at `sock` with `functions`, each called at once on the loop; a ValueError goes to whoever asked."""

    def __init__(self, sock: socket.socket, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._functions = functions
        self._task = asyncio.get_running_loop().create_task(self._answer(sock))

    async def _answer(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        try:
            while True:
                number, name, args = await _unpacked(reader)
                try:
                    value, good = self._functions[name](*args), True
                except Exception as error:  # whoever asked is told; this end goes on
                    value, good = f"{error}" or type(error).__name__, False
                writer.write(_packed((number, good, value)))
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))


def _packed(value: Any) -> bytes:
    text = pickle.dumps(value)
    return _LENGTH.pack(len(text)) + text


async def _unpacked(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))
