"""A folder behind the origins' seam: GET and HEAD of its files, read in threads so that no loop waits for a disk.

Decides statuses of what is no file (404, 403, 405, the redirect to a folder's slash). Must not know clients or
what is stored of its answers.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from cdn.config.values import Directory
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.tier.directory.answer import FileAnswer, answer
from cdn.tier.directory.headers import HEADERS_FILE_NAME, LARGEST, HeadersFile, parse
from cdn.tier.directory.opening import ForbiddenError, IsFolderError, NotThereError, Opened, open_path
from cdn.tier.seam import Kind, OriginError, OriginRequest, OriginResponse

PIECE = 256 << 10  # bytes read at once
ALLOWED = "GET, HEAD"


@dataclass(slots=True)
class _Read:
    """What one visit to the disk brought: an answer with its first bytes, and the file while there are more."""

    head: ResponseHead
    length: int
    first: bytes
    file: Opened | None
    position: int


class DirectoryResponse(OriginResponse):
    """Gives the bytes of an open file; a file that changes meanwhile ends it with TRUNCATED."""

    delimited_by_close = False
    connect_ms = 0.0

    def __init__(self, read: _Read, server: str, first_byte_ms: float) -> None:
        self.head = read.head
        self.length = read.length
        self.server = server
        self.first_byte_ms = first_byte_ms
        self._waiting = read.first
        self._file = read.file
        self._position = read.position
        self._end = read.position + read.length - len(read.first)
        self._given = 0

    @property
    def complete(self) -> bool:
        return self._given == self.length

    async def read(self) -> bytes:
        piece, self._waiting = self._waiting, b""
        if not piece and self._file is not None:
            file, self._file = self._file, None  # the thread's: an `abort` must not close it under the thread
            reading = asyncio.ensure_future(
                asyncio.to_thread(_piece, file, self._position, self._end, self.server)
            )
            try:
                piece = await asyncio.shield(reading)
            except asyncio.CancelledError:
                reading.add_done_callback(lambda done: _forget(done, file))
                raise
            self._position += len(piece)
            if self._position < self._end:
                self._file = file
        self._given += len(piece)
        return piece

    def abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._waiting = b""

    def __del__(self) -> None:
        self.abort()


class DirectoryOrigin:
    """`directory` of an origin, whose name is for errors; `report(kind, sentence)` hears of wrong lines in the
    `_headers` file, once for each state of it.
    """

    def __init__(
        self,
        name: str,
        directory: Directory,
        report: Callable[[str, str], None] = lambda kind, sentence: None,
    ) -> None:
        self.server = f"directory:{name}"
        self._report = report
        self._directory = directory
        self._headers = HeadersFile()
        self._untold = False
        self._headers_seen: tuple[int, int] | None = None  # mtime and size of the file that was read last

    async def fetch(self, request: OriginRequest) -> OriginResponse:
        """Answer from the folder. Raises OriginError when the folder itself cannot be read."""
        begun = time.monotonic()
        visit = asyncio.ensure_future(asyncio.to_thread(self._visit, request))
        try:
            read = await asyncio.shield(visit)
        except asyncio.CancelledError:
            visit.add_done_callback(_close)
            raise
        except OSError as error:
            detail = f"the folder {self._directory.path} cannot be read: {error.strerror}"
            raise OriginError(Kind.NO_SERVER, detail, server=self.server) from error
        for problem in self._headers.problems if self._untold else ():
            self._report("headers-file", f"{self._directory.path}/{HEADERS_FILE_NAME}: {problem}")
        self._untold = False
        return DirectoryResponse(read, self.server, (time.monotonic() - begun) * 1000)

    # in a thread

    def _visit(self, asked: OriginRequest) -> _Read:
        if asked.method not in ("GET", "HEAD"):
            return _text(405, "This is a folder of files: only GET and HEAD.", asked, ("Allow", ALLOWED))
        path, mark, query = asked.target.partition("?")
        request = RequestHead(
            asked.method, "http", asked.host or "", path, query if mark else None, asked.fields
        )
        extra = self._read_headers().fields(path)
        try:
            file = open_path(self._directory.path, path, self._directory.index)
        except NotThereError:
            return self._not_found(asked, extra)
        except ForbiddenError:
            return _text(403, "This file may not be read.", asked)
        except IsFolderError:
            # one slash in front, or the client would read a host's name there
            where = "/" + path.strip("/") + "/" + (f"?{query}" if mark else "")
            return _text(301, "A folder ends with a slash.", asked, ("Location", where))
        try:
            made = answer(request, file, extra, int(time.time()))
            return _begin(made, file, self.server)
        except BaseException:
            file.close()
            raise

    def _not_found(self, asked: OriginRequest, extra: list[tuple[str, str]]) -> _Read:
        try:
            file = open_path(self._directory.path, f"/{self._directory.not_found}", ())
        except (NotThereError, ForbiddenError, IsFolderError):
            return _text(404, "There is no such file.", asked)
        plain = RequestHead(asked.method, "http", "", "/", None, Fields())
        made = answer(plain, file, extra, int(time.time()))
        about_the_page = ("etag", "last-modified", "accept-ranges", "cache-control", "expires")
        try:
            made = FileAnswer(404, made.fields.without(about_the_page), 0, made.length)
            return _begin(made, file, self.server)
        except BaseException:
            file.close()
            raise

    def _read_headers(self) -> HeadersFile:
        path = os.path.join(self._directory.path, HEADERS_FILE_NAME)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            self._headers, self._headers_seen = HeadersFile(), None
            return self._headers
        try:
            about = os.fstat(fd)
            seen = (about.st_mtime_ns, about.st_size)
            if seen != self._headers_seen:
                text = os.pread(fd, LARGEST, 0).decode("utf-8", "replace")
                self._headers, self._headers_seen, self._untold = parse(text), seen, True
        finally:
            os.close(fd)
        return self._headers


def _begin(made: FileAnswer, file: Opened, server: str) -> _Read:
    """The answer with its first piece; the file is closed where that is all of it."""
    head = ResponseHead(made.status, made.fields, HTTPStatus(made.status).phrase)
    end = made.first + made.length
    if made.length == 0:
        file.close()
        return _Read(head, 0, b"", None, end)
    first = _piece(file, made.first, end, server)
    position = made.first + len(first)
    return _Read(head, made.length, first, file if position < end else None, position)


def _piece(file: Opened, position: int, end: int, server: str) -> bytes:
    """The next bytes; with the last ones the file is closed, after a look whether it is still the same."""
    try:
        piece = os.pread(file.fd, min(PIECE, end - position), position)
        whole = position + len(piece) == end
        if not piece or (whole and not file.unchanged()):
            raise OriginError(
                Kind.TRUNCATED, "the file changed while it was read", server=server, sent=True, received=True
            )
    except OSError as error:
        file.close()
        raise OriginError(Kind.RESET, f"reading a file: {error.strerror}", server=server) from error
    except OriginError:
        file.close()
        raise
    if whole:
        file.close()
    return piece


def _text(status: int, sentence: str, asked: OriginRequest, *lines: tuple[str, str]) -> _Read:
    body = f"{sentence}\n".encode()
    about = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    if asked.method == "HEAD":
        body = b""
    return _Read(
        ResponseHead(status, Fields([*lines, *about]), HTTPStatus(status).phrase),
        len(body),
        body,
        None,
        len(body),
    )


def _close(visit: asyncio.Future[_Read]) -> None:
    """Nobody waits for what a thread opened."""
    if not visit.cancelled() and visit.exception() is None and (file := visit.result().file):
        file.close()


def _forget(reading: asyncio.Future[bytes], file: Opened) -> None:
    if not reading.cancelled():
        reading.exception()  # seen: nobody waits for it
    file.close()
