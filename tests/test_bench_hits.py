"""The hit-ratio harness: traces are what they say, both sides are counted alike, the page says what was measured."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.hits import page, references
from bench.hits.__main__ import main
from bench.hits.figures import CACHETOOLS, FRACTIONS, Cell, Result, measure
from bench.hits.store import Replay, replay
from bench.hits.traces import Trace, recorded, synthetic

SMALL = Trace("small", "made here", [(n * n % 251, 90_000 + n * n % 251 * 1000) for n in range(4000)])


def write(path: Path, text: str) -> None:
    with gzip.open(path, "wt") as out:
        out.write(text)


def test_synthetic_traces_are_the_same_everywhere() -> None:
    facts = {t.name: (len(t.requests), t.objects, t.working_set) for t in synthetic()}
    assert facts == {t.name: (len(t.requests), t.objects, t.working_set) for t in synthetic()}
    assert set(facts) == {"zipf", "scans", "churn"}
    for requests, objects, working_set in facts.values():
        assert 20_000 < requests < 40_000
        assert objects > 2000
        assert working_set > 50e6
    sizes = [size for t in synthetic() for _, size in t.requests]
    assert max(sizes) > 10e6


def test_recorded_traces_are_read_and_others_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv.gz", "time,obj_id,size\n0,1,500\n1,2,700\n2,1,500\n")
    (one,) = recorded(tmp_path)
    assert (one.name, one.requests, one.working_set, one.objects) == (
        "a",
        [(1, 500), (2, 700), (1, 500)],
        1200,
        2,
    )
    write(tmp_path / "b.csv.gz", "time,key\n0,1\n")
    with pytest.raises(ValueError, match=r"b\.csv\.gz is not a trace of time,obj_id,size"):
        recorded(tmp_path)


def test_misses_are_counted_as_by_hand() -> None:
    trace = Trace("t", "", [(1, 100), (2, 300), (1, 100), (3, 10**9), (2, 300)])
    blob = memoryview(bytes(1000))
    ours = replay(trace, 8, 1000, "lru", blob)
    assert (ours.objects, round(ours.bytes, 4)) == (60.0, 100.0)
    theirs = references.cachetools_lru(trace, 1000)
    assert (ours.objects, ours.bytes) == (theirs.objects, theirs.bytes)
    assert ours.held == theirs.held == 400


def test_the_store_holds_what_the_reference_holds_and_hits_as_often() -> None:
    result = measure(SMALL, 1, None)
    for fraction in FRACTIONS:
        cell = result.cells[fraction]
        assert set(cell.ours) == {"lru", "sieve", "s3fifo", "s3fifo-size"}
        reference = cell.others[CACHETOOLS]
        assert cell.capacity > 60 << 20
        assert abs(cell.ours["lru"].held / reference.held - 1) < 0.05
        assert abs(cell.ours["lru"].objects - reference.objects) < 1


def made() -> Result:
    result = Result(SMALL)
    for n, fraction in enumerate(FRACTIONS):
        cell = Cell(1000)
        cell.ours = {"lru": Replay(50 - n, 80 - n, 1), "s3fifo": Replay(40 - n, 70 - n, 1)}
        cell.others = {CACHETOOLS: Replay(49.5 - n, 80.25 - n, 1)}
        result.cells[fraction] = cell
    return result


def test_the_page_says_what_was_measured() -> None:
    text = page.table([made()])
    assert "| `lru` | 50.0 / 49.0 / 48.0 | 80.0 / 79.0 / 78.0 |" in text
    assert "| *LRU (cachetools)* | 49.5 / 48.5 / 47.5 | 80.2 / 79.2 / 78.2 |" in text
    assert "| `s3fifo` | -20.4% | -12.7% | -20.0%, -12.5% |" in page.summary([made()])
    said = page.deviation([made()], CACHETOOLS)
    assert (
        "within 0.50 points of LRU (cachetools) in objects. In bytes it differs by -0.25 to -0.25 points"
        in said
    )
    assert "in 3 cells of 3 by no more than half a point; it is 0.00 points worse at most than" in said
    drawing = ET.fromstring(page.svg([made()], CACHETOOLS))
    lines = drawing.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2 * 3


def test_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.hits", "--only", "nothing", "--out", str(tmp_path / "out")])
    assert main() == 2
    assert "no trace is called 'nothing'; there are zipf, scans, churn" in capsys.readouterr().err
    folder = tmp_path / "traces"
    folder.mkdir()
    rows = "".join(f"{n},{key},{size}\n" for n, (key, size) in enumerate(SMALL.requests))
    write(folder / "small.csv.gz", "time,obj_id,size\n" + rows)
    monkeypatch.setattr(
        "sys.argv",
        f"bench.hits --traces {folder} --only small --rounds 1 --no-simulator --out {tmp_path}/out".split(),
    )
    assert main() == 0
    assert "**small** (recorded): 4,000 requests" in (tmp_path / "out" / "hit-ratios.md").read_text()
    assert (tmp_path / "out" / "hit-ratios.svg").read_text().startswith("<svg")
