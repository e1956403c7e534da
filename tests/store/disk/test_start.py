"""A start is warm at once: the index comes from the logs, whatever the bodies are."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from cdn.store.disk import format as fmt
from cdn.store.disk.segment_files import data_name, log_name
from tests.store.disk.make import opened


def many(path: Path, objects: int, per_segment: int) -> None:
    """Logs of so many entries of 4 KiB, their data files sparse: a start must not read those."""
    opened(path, 32 << 30, objects=objects).close()
    rng = random.Random(2)
    serial = 0
    for number in range(1, objects // per_segment + 1):
        records = [fmt.file_head(fmt.LOG, number)]
        for i in range(per_segment):
            serial += 1
            records.append(
                fmt.log_record(
                    fmt.ENTRY, number, rng.getrandbits(64), serial, 1, fmt.units(4096) * (i + 1), 64
                )
            )
        (path / log_name(number)).write_bytes(b"".join(records))
        with open(path / data_name(number), "wb") as data:
            data.write(fmt.file_head(fmt.DATA, number))
            data.truncate((per_segment + 2) * 4096)


def ready(path: Path, objects: int, per_segment: int) -> float:
    many(path, objects, per_segment)
    begun = time.perf_counter()
    disk = opened(path, 32 << 30, objects=objects)
    took = time.perf_counter() - begun
    assert disk.recovered.records == objects
    assert disk.recovered.bad == 0
    assert disk.shared_stats()["objects"] >= objects * 0.999
    disk._table.audit()
    disk.close()
    return took


def test_a_start_with_many_objects(tmp_path: Path) -> None:
    assert ready(tmp_path / "cache", 40_000, 10_000) < 1


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_start_with_a_million_objects(tmp_path: Path) -> None:
    took = ready(tmp_path / "cache", 1_000_000, 50_000)
    print(f"ready after {took:.3f} s with 1,000,000 objects")
    assert took <= 1
