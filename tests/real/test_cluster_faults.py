"""Two edges, two shields and two servers of an origin under load, while each in turn fails and comes back.

No answer is ever wrong, whatever fails. A fault of a shield or a server costs at most the answers that were under way
through it, and that only until it is left alone; a fault of an edge is felt by its own clients alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from ..harness import RawClient
from .cluster import SECRET, Cluster
from .load import HOT, Load, Note

# The configured time in which a fault must be over for clients: the edge waits 2.5 s for a shield, three failures
# eject, and what was asked before then may be asked twice.
LIMIT = (
    2.5 + 1.0 + 0.5 + 1.5
)  # seconds: first byte of the shield, of the server after it, a pause, and a busy machine

STALLED = {"shield": 3.2, "origin": 1.8}
QUICK = [
    ("shield-1", "kill"),
    ("shield-2", "stall"),
    ("shield-1", "reset"),
    ("origin-1", "kill"),
    ("origin-2", "stall"),
    ("origin-2", "reset"),
    ("shield-2", "slow"),
    ("origin-1", "cut"),
    ("edge-1", "kill"),
]
KINDS = {"edge": ("kill", "stall"), "shield": ("kill", "stall", "slow", "reset", "cut")}
ALL = [
    (f"{part}-{number}", how)
    for part in ("origin", "shield", "edge")
    for number in (1, 2)
    for how in KINDS.get(part, KINDS["shield"])
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET, "a secret of more than 16 characters")
        with Cluster() as made:
            yield made


def errors(notes: list[Note]) -> list[Note]:
    return [note for note in notes if note.fault is not None]


def says(name: str, how: str, notes: list[Note], begin: float, back: float) -> float:
    """Print what a fault cost; the seconds until the last error of it."""
    found = errors(notes)
    last = max((note.at for note in found), default=begin) - begin
    after = max((note.at - back for note in found), default=0.0)
    slowest = max(note.seconds for note in notes)
    kinds = dict(Counter((note.fault or "")[:24] for note in found))
    print(
        f"{name} {how}: {len(found)} errors of {len(notes)} requests ({len(found) / len(notes):.2%}); last after "
        f"{last:.2f} s, {max(0.0, after):.2f} s after it was back; slowest {slowest:.2f} s {kinds or ''}"
    )
    return last


def play(cluster: Cluster, load: Load, name: str, how: str, lasts: float, rest: float) -> None:
    begin = time.monotonic()
    cluster.harm(name, how)
    time.sleep(lasts)
    cluster.heal(name, how)
    back = time.monotonic()
    time.sleep(rest)
    notes = load.since(begin)
    says(name, how, notes, begin, back)
    assert not load.wrong, load.wrong[:5]
    found = errors(notes)
    if name.startswith("edge"):
        edge = int(name[-1]) - 1
        assert [note for note in found if note.edge != edge] == []
        assert [note for note in found if note.at > back + LIMIT] == []
        assert [note for note in notes if note.edge == edge and note.fault is None and note.at > back]
        return
    if how == "slow":
        assert found == []
    elif how != "cut":  # only an answer that was under way is lost
        assert len(found) <= 8
        assert [note for note in found if note.at - begin > LIMIT] == []
    else:  # every trial of it may cost an answer, one a second from each who asks
        assert len(found) <= 3 * 4 * 2 + 4 * (lasts + rest) + 8
        assert [note for note in found if note.at > back + 1] == []


def test_each_part_fails_and_comes_back_under_load(cluster: Cluster) -> None:
    with Load([edge.port for edge in cluster.edges], 4) as load:
        time.sleep(1.5)
        assert errors(load.notes) == []
        for name, how in QUICK:
            # A stall lasts longer than anybody waits for it, so that it is seen to be left alone.
            play(cluster, load, name, how, STALLED[name[:6]] if how == "stall" else 1, 0.6)
    assert len({note.edge for note in load.notes}) == 2


@pytest.mark.full
@pytest.mark.timeout(900)
def test_each_part_fails_in_each_way_for_ten_seconds(cluster: Cluster) -> None:
    with Load([edge.port for edge in cluster.edges], 8) as load:
        time.sleep(3)
        for name, how in ALL:
            play(cluster, load, name, how, 10, 8)


def all_down(cluster: Cluster, lasts: float) -> None:
    for edge in cluster.edges:  # however slow the machine: what is called stored is stored
        for number in range(HOT):
            with RawClient(edge.port, timeout=8) as client:
                assert client.get(f"/hot/{number}").status == 200
    with Load([edge.port for edge in cluster.edges], 3) as load:
        time.sleep(1.5)
        began = time.monotonic()
        for name in ("origin-1", "origin-2"):
            cluster.harm(name, "kill")
        time.sleep(lasts)
        for name in ("origin-1", "origin-2"):
            cluster.heal(name, "kill")
        back = time.monotonic()
        time.sleep(2)
        notes = load.since(began)
        hot = [note for note in notes if note.kind == "hot"]
        says("all origins", "down", notes, began, back)
        says("all origins (stored)", "down", hot, began, back)
        assert not load.wrong, load.wrong[:5]
        assert errors(hot) == []
        assert [note for note in errors(notes) if note.at > back + 2.5] == []


def test_no_client_sees_an_error_of_what_is_stored_while_all_origins_are_down(cluster: Cluster) -> None:
    all_down(cluster, 2)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_no_client_sees_an_error_of_what_is_stored_while_all_origins_are_down_for_a_minute(
    cluster: Cluster,
) -> None:
    all_down(cluster, 60)
