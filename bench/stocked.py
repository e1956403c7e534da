"""`cdn serve`, but its first worker can be told to store copies of what it has: millions of objects in seconds.

    python -m bench.stocked CONFIG

The file `stock` beside CONFIG, `{"url": "http://HOST/PATH", "count": N}`, asks for what is stored under PATH1 to be
stored under PATH2 … PATHN too, by the store's own `publish`; `stocked` says when that is done. Everything else is the
program as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import ORDER, RECEIPT
from cdn.cli import serve
from cdn.proxy.purging import key_of
from cdn.proxy.worker import Worker

AT_ONCE = 10_000  # between two looks at anything else
LOOK = 0.1  # seconds


async def copy(worker: Worker, url: str, count: int) -> dict[str, float]:
    """Stores the copies; what the store says then. ValueError when there is nothing to copy."""
    memory, table, path = worker.memory, worker.site.table, urlsplit(url).path
    first = memory.lookup(key_of(table, f"{url}1"))
    if first is None:
        raise ValueError(f"nothing is stored under {url}1")
    draft, body = first.draft(), first.read()
    first.release()
    number = 2
    while number <= count:
        # keys of numbers with as many digits differ in those alone
        digits = len(str(number))
        last = min(count, 10**digits - 1)
        key = key_of(table, f"{url}{number}")
        at = key.rindex(f"{path}{number}".encode()) + len(path)
        before, after = key[:at], key[at + digits :]
        while number <= last:
            behind = min(last, number + AT_ONCE - 1)
            for n in range(number, behind + 1):
                memory.publish(before + b"%d" % n + after, draft, body, tell=False)
            number = behind + 1
            await asyncio.sleep(0)
    return memory.stats()


async def take_orders(worker: Worker, folder: Path) -> None:
    """For as long as the worker runs."""
    while True:
        await asyncio.sleep(LOOK)
        try:
            order = json.loads((folder / ORDER).read_text())
        except FileNotFoundError:
            continue
        (folder / ORDER).unlink()
        try:
            said = json.dumps(await copy(worker, order["url"], order["count"]))
        except ValueError as error:
            said = json.dumps({"error": str(error)})
        new = folder / f"{RECEIPT}.new"
        new.write_text(said)
        new.rename(folder / RECEIPT)


class StockedWorker(Worker):
    """The worker that the node is made of here."""

    folder: Path

    async def start(self) -> None:
        await super().start()
        if self.memory.worker == 0:
            self.site.spawn(take_orders(self, self.folder))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench.stocked", description="cdn serve, and orders to stock its store"
    )
    parser.add_argument("config", type=Path)
    args = parser.parse_args()
    import cdn.proxy.worker

    StockedWorker.folder = args.config.parent
    cdn.proxy.worker.Worker = StockedWorker  # type: ignore[misc]
    options = argparse.ArgumentParser()
    serve.arguments(options)
    return serve.run(options.parse_args([str(args.config)]))


if __name__ == "__main__":
    sys.exit(main())
