"""Which file a request's path names, opened; nothing outside the folder, however the path or the links are made.

Decides that hidden names (a leading dot, but for `.well-known`), the `_headers` file and anything that is no
regular file are not there. A symbolic link is followed while it stays inside the folder: what counts is where
the opened file lies, asked of the descriptor itself, so that nobody can exchange a name in between. Must not
know HTTP fields. Everything here may wait for a disk: call it in a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

HEADERS_FILE = b"_headers"
SHOWN = frozenset({b".well-known"})
LONGEST_NAME = 255  # bytes, of one segment: what file systems take


class NotThereError(Exception):
    """No such file, or none that may be shown."""


class ForbiddenError(Exception):
    """The file is there and this process may not read it."""


class IsFolderError(Exception):
    """The path names a folder and lacks its final slash."""


@dataclass(slots=True)
class Opened:
    """A regular file, open; whoever got it closes it. `name` is the path inside the folder, as bytes."""

    fd: int
    name: bytes
    size: int
    modified_ns: int

    @property
    def modified(self) -> int:
        """Seconds."""
        return self.modified_ns // 1_000_000_000

    @property
    def etag(self) -> str:
        return f'"{self.modified_ns:x}-{self.size:x}"'

    def close(self) -> None:
        """Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def unchanged(self) -> bool:
        """Whether the file is still the one that was opened: a file may be written to while it is read."""
        now = os.fstat(self.fd)
        return now.st_size == self.size and now.st_mtime_ns == self.modified_ns


def segments(path: str) -> list[bytes]:
    """The names in a path of RFC 3986's normal form, decoded; the last is empty for a folder.

    Raises NotThereError for what no file of ours can have: a slash, NUL or dots-only inside a name, an empty
    name in the middle, hidden names.
    """
    names = [unquote_to_bytes(part) for part in path.removeprefix("/").split("/")]
    for index, name in enumerate(names):
        if not name:
            if index == len(names) - 1:
                break
            raise NotThereError
        hidden = name.startswith(b".") and name not in SHOWN
        if hidden or b"/" in name or b"\0" in name or len(name) > LONGEST_NAME:
            raise NotThereError
    if names == [HEADERS_FILE]:
        raise NotThereError
    return names


def open_path(root: str, path: str, index: tuple[str, ...]) -> Opened:
    """Open what `path` names below `root` (absolute). Raises the errors above, or OSError when the folder
    itself or the system fails.
    """
    names = segments(path)
    base = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if names[-1]:
            return _open(base, b"/".join(names))
        for name in index:
            try:
                return _open(base, b"/".join([*names[:-1], os.fsencode(name)]))
            except (NotThereError, IsFolderError):
                continue
        raise NotThereError
    finally:
        os.close(base)


def _open(base: int, name: bytes) -> Opened:
    try:
        # O_NONBLOCK: a pipe without a writer must not hold the thread
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=base)
    except OSError as error:
        raise _reason(error) from error
    try:
        if not _inside(base, fd):
            raise NotThereError
        about = os.fstat(fd)
        if stat.S_ISDIR(about.st_mode):
            raise IsFolderError
        if not stat.S_ISREG(about.st_mode):
            raise NotThereError
        return Opened(fd, name, about.st_size, about.st_mtime_ns)
    except BaseException:
        os.close(fd)
        raise


def _reason(error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotThereError()
    if isinstance(error, PermissionError):
        return ForbiddenError()
    # too many links, a name that is too long, a device without a driver, a socket
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV):
        return NotThereError()
    return error


def _inside(base: int, fd: int) -> bool:
    """Whether the open file lies below the open folder, and under no hidden name of it."""
    folder = os.readlink(b"/proc/self/fd/%d" % base)
    where = os.readlink(b"/proc/self/fd/%d" % fd)
    if where == folder:
        return True
    prefix = folder.rstrip(b"/") + b"/"
    if not where.startswith(prefix):
        return False
    below = where[len(prefix) :].split(b"/")
    return below != [HEADERS_FILE] and not any(name.startswith(b".") and name not in SHOWN for name in below)
