"""The store's mapping is allocated whole at start: no later write can meet a page that is not there."""

from __future__ import annotations

import os
from pathlib import Path

from tests.harness import Origin, fresh, site
from tests.harness.process import Serve

MIB = 1 << 20


def mappings(pid: int) -> list[os.stat_result]:
    """What stands behind the memfd of the store that the process holds."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(link).startswith("/memfd:cdn-store"):
                found.append(os.stat(link))
        except OSError:
            continue
    return found


def test_every_page_is_there_before_the_first_request() -> None:
    with Origin(fresh(60)) as origin, Serve(site(origin, store={"memory": "32 MiB"})) as node:
        node.get("/")  # a connection waits until all is open
        stores = mappings(node.pid)
        assert len(stores) == 1
        assert stores[0].st_size == 32 * MIB
        assert stores[0].st_blocks * 512 >= 32 * MIB
        before = stores[0].st_blocks
        for number in range(300):
            node.get(f"/{number}")
        assert mappings(node.pid)[0].st_blocks == before


def test_a_size_that_cannot_be_had_is_one_sentence() -> None:
    """posix_fallocate says so at start; a sparse mapping would have died of SIGBUS later."""
    with Origin(fresh(60)) as origin:
        with Serve(site(origin, store={"memory": "1 TiB"}), wait=False) as node:
            assert node.wait() in (1, 2)
            assert len(node.stderr.strip().splitlines()) <= 2
            assert "Traceback" not in node.stderr
            assert "memory" in node.stderr
