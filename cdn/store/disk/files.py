"""The write seam: everything that is written into the cache's folder goes through `Files`, and through nothing else.

Decides how files are opened (never through a symbolic link, readable by the owner alone) and that a write is whole or
an error. Must not know what is in them. A test puts a recorder here and replays what a power loss would have left.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

Bytes = bytes | bytearray | memoryview

PIECES = 512  # buffers in one system call
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class OpenFile:
    """A descriptor that is closed when its last user lets go of it."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Files:
    """The files of one folder, by name. Every method raises OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock: int | None = None
        self._writing: dict[str, OpenFile] = {}

    def lock(self, name: str) -> bool:
        """Take the folder for this process and its children; False when another process has it."""
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=self._folder)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            try:
                fd = os.open(name, _READ, dir_fd=self._folder)  # what is there can be read all the same
            except FileNotFoundError:
                raise error from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        self._lock = fd
        return True

    @property
    def locked(self) -> bool:
        return self._lock is not None

    @contextmanager
    def alone(self, byte: int = 0) -> Iterator[None]:
        """No other process of the node is in here, by that byte of the lock file, meanwhile; its end ends this, too."""
        assert self._lock is not None
        fcntl.lockf(self._lock, fcntl.LOCK_EX, 1, byte)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, byte)

    def close(self) -> None:
        self._writing.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    # -- writing ----------------------------------------------------------------------------------------------------

    def create(self, name: str, room: int = 0) -> None:
        """A new file, with so many bytes set aside for it; FileExistsError when there is one of any kind."""
        file = OpenFile(os.open(name, _CREATE, 0o600, dir_fd=self._folder))
        if room:
            try:
                os.posix_fallocate(file.fd, 0, room)
            except OSError:
                os.unlink(name, dir_fd=self._folder)
                raise
        self._writing[name] = file

    def write(self, name: str, pieces: Sequence[Bytes], offset: int) -> None:
        """All of them, one behind the other, from `offset` on."""
        fd = self._writing[name].fd
        left = [memoryview(piece) for piece in pieces if len(piece)]
        at = 0
        while at < len(left):
            n = os.pwritev(fd, left[at : at + PIECES], offset)
            if n <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            offset += n
            while at < len(left) and n >= len(left[at]):
                n -= len(left[at])
                at += 1
            if n:
                left[at] = left[at][n:]

    def sync(self, name: str) -> None:
        os.fdatasync(self._writing[name].fd)

    def truncate(self, name: str, length: int) -> None:
        os.ftruncate(self._writing[name].fd, length)

    def done(self, name: str) -> None:
        """Nothing more will be written to it."""
        self._writing.pop(name, None)

    def linked(self, name: str) -> bool:
        """Whether a file that is open for writing is still to be found under a name."""
        return os.fstat(self._writing[name].fd).st_nlink > 0

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        file = self._writing.pop(old, None)
        if file is not None:
            self._writing[new] = file

    def unlink(self, name: str) -> None:
        """Also when it is gone already."""
        self._writing.pop(name, None)
        try:
            os.unlink(name, dir_fd=self._folder)
        except FileNotFoundError:
            pass

    def sync_folder(self) -> None:
        """What was created, renamed and unlinked stays so."""
        os.fsync(self._folder)

    # -- reading ----------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return os.listdir(self._folder)

    def mode(self) -> os.stat_result:
        return os.fstat(self._folder)

    def open(self, name: str) -> OpenFile:
        return OpenFile(os.open(name, _READ, dir_fd=self._folder))

    def reopen(self, name: str) -> int:
        """Open a file that is there for writing, as it is now; its length."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        file = OpenFile(os.open(name, flags, dir_fd=self._folder))
        self._writing[name] = file
        return os.fstat(file.fd).st_size

    def beginning(self, name: str, length: int) -> bytes:
        """Of a file that is open for writing."""
        return os.pread(self._writing[name].fd, length, 0)

    def read(self, name: str) -> bytes:
        """The whole of a small file."""
        file = self.open(name)
        pieces = []
        at = 0
        while piece := os.pread(file.fd, 1 << 22, at):
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def size(self, name: str) -> int:
        return os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_size
