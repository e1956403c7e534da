"""A wire that can be cut: a relay in front of a port, whose two sides hear nothing of each other while it is cut."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType


class Wire:
    """Connections to `port` go to `target`, both on loopback. `cut` loses nothing and closes nothing: it is silence."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._other: dict[socket.socket, socket.socket] = {}
        self._whole = threading.Event()
        self._whole.set()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._ended:
                self._whole.wait(30)
                for key, _ in selector.select(0.05):
                    if not self._whole.is_set():
                        break
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._listener:
                        self._take(selector)
                    elif sock in self._other:
                        self._pass(selector, sock)

    def _take(self, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(OSError):
            one = self._listener.accept()[0]
            try:
                other = socket.create_connection(("127.0.0.1", self._target), 2)
            except OSError:
                one.close()
                return
            for here, there in ((one, other), (other, one)):
                here.setblocking(True)
                here.settimeout(5)
                self._other[here] = there
                selector.register(here, selectors.EVENT_READ)

    def _pass(self, selector: selectors.BaseSelector, sock: socket.socket) -> None:
        other = self._other[sock]
        try:
            data = sock.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for end in (sock, other):
            self._other.pop(end, None)
            selector.unregister(end)
            end.close()

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._whole.set()
        self._thread.join(10)
        for sock in (self._listener, *self._other):
            sock.close()
