"""Clients that ask edges for versioned resources all the time, check every answer, and note when what went wrong."""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from ..harness import RawClient, WireError
from .versions import EACH, check

HOT = 30
PAUSE = 0.02
PATIENCE = 8.0
ROUNDING = 2.5  # seconds: Age is whole at each of two tiers, and machines are busy
KINDS = ("hot", "cold", "off")
_fresh = itertools.count()


@dataclass(frozen=True)
class Note:
    """One request: when it ended, by the monotonic clock, and why it is an error, if it is."""

    at: float
    seconds: float
    edge: int
    kind: str
    fault: str | None


class Load:
    """`each` clients on each of `ports`; `wrong` lists answers that nobody may ever get."""

    def __init__(self, ports: list[int], each: int) -> None:
        self.ports = ports
        self.notes: list[Note] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(edge, edge * each + n), daemon=True)
            for edge in range(len(ports))
            for n in range(each)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def since(self, begin: float, end: float | None = None) -> list[Note]:
        return [note for note in list(self.notes) if note.at >= begin and (end is None or note.at < end)]

    def _client(self, edge: int, number: int) -> None:
        chance = random.Random(number)
        client: RawClient | None = None
        while not self._stop.is_set():
            kind = chance.choices(KINDS, (75, 20, 5))[0]
            path = f"/{kind}/{chance.randrange(HOT) if kind == 'hot' else next(_fresh)}"
            began = time.monotonic()
            fault: str | None = None
            try:
                client = client or RawClient(self.ports[edge], timeout=PATIENCE)
                fault = self._judge(client, path)
            except (OSError, WireError) as error:
                fault = f"{type(error).__name__}: {error}"
            except AssertionError as error:
                fault = f"timeout: {error}"
            if fault is not None and client is not None:
                client.close()
                client = None
            now = time.monotonic()
            self.notes.append(Note(now, now - began, edge, kind, fault))
            time.sleep(PAUSE if fault is None else 5 * PAUSE)
        if client is not None:
            client.close()

    def _judge(self, client: RawClient, path: str) -> str | None:
        began = time.time()
        response = client.get(path)
        now = time.time()
        if response.status != 200:
            return f"{response.status}"
        version = check(path, response.body)
        if version is None or response["etag"] != f'"{version}"':
            self.wrong.append(f"{path}: not its body: {response.body[:80]!r} {response['etag']}")
            return None
        age = int(response["age"] or 0)
        if now - (version + 1) * EACH > age + (now - began) + ROUNDING:
            self.wrong.append(f"{path}: said to be {age} s old, is {now - version * EACH:.1f} s old")
        return None
