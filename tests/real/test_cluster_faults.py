"""Two edges, two shields, two servers of an origin and a broker under load, while each in turn fails and comes back.

No answer is ever wrong, whatever fails. A fault of a shield or a server costs at most the answers that were under way
through it, and that only until it is left alone; a fault of an edge is felt by its own clients alone; one of the broker
by no client. For each fault the run says its error rate, after what time those who ask the part left it alone, and how
long after it was back they used it again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from cdn.control.broker import CONNECT, SILENCE
from cdn.control.bus import LONGEST_PAUSE

from ..harness import RawClient
from ..harness.sync import eventually
from .cluster import SECRET, Cluster
from .load import HOT, Load, Note
from .relay import SLOWNESS
from .test_bus import bus, purge

# The configured time in which a fault must be over for clients: the edge waits 2.5 s for a shield, three failures
# eject, and what was asked before then may be asked twice.
LIMIT = (
    2.5 + 1.0 + 0.5 + 1.5
)  # seconds: first byte of the shield, of the server after it, a pause, and a busy machine
# In which it is used again: the longest pause, a trial a second, the slow return, a busy machine.
RETURN = 1.0 + 1.0 + 0.5 + 1.5
# In which it is left alone: the first byte is waited for, and all that waits fails together; a busy machine.
NOTICED = {"shield": 2.5 + 1.5, "origin": 1.0 + 1.5, "broker": SILENCE + 1.5}
REJOINED = LONGEST_PAUSE + CONNECT + 1.5
PATIENCE = 20.0  # seconds in a run that is for what happens, not for when

STALLED = {"shield": 3.2, "origin": 1.8, "broker": 0}
QUICK = [
    ("shield-1", "kill"),
    ("shield-2", "stall"),
    ("shield-1", "reset"),
    ("broker", "kill"),
    ("origin-1", "kill"),
    ("origin-2", "stall"),
    ("origin-2", "reset"),
    ("broker", "stall"),
    ("shield-2", "slow"),
    ("origin-1", "cut"),
    ("broker", "restart"),
    ("edge-1", "kill"),
    ("broker", "reset"),
    ("edge-2", "reset"),
    ("broker", "slow"),
]
KINDS = {"edge": ("kill", "stall", "slow", "reset"), "shield": ("kill", "stall", "slow", "reset", "cut")}
ALL = [
    (f"{part}-{number}", how)
    for part in ("origin", "shield", "edge")
    for number in (1, 2)
    for how in KINDS.get(part, KINDS["shield"])
] + [("broker", how) for how in ("kill", "stall", "restart", "slow", "reset")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET, "a secret of more than 16 characters")
        with Cluster() as made:
            yield made


def errors(notes: list[Note]) -> list[Note]:
    return [note for note in notes if note.fault is not None]


@dataclass(frozen=True)
class Fault:
    """When it began, was noticed, was over, and when the part was used again; monotonic."""

    name: str
    how: str
    begin: float
    noticed: float
    back: float
    used: float

    def says(self, notes: list[Note]) -> None:
        """Print what it cost."""
        found = errors(notes)
        last = max((note.at for note in found), default=self.begin) - self.begin
        slowest = max(note.seconds for note in notes)
        kinds = dict(Counter((note.fault or "")[:24] for note in found))
        print(
            f"{self.name} {self.how}: {len(found)} errors of {len(notes)} requests ({len(found) / len(notes):.2%}), "
            f"the last after {last:.2f} s; noticed after {self.noticed - self.begin:.2f} s; lasted "
            f"{self.back - self.begin:.2f} s; used again {self.used - self.back:.2f} s after its end; slowest answer "
            f"{slowest:.2f} s {kinds or ''}"
        )


def until(done: Callable[[], bool], what: str, patience: float) -> float:
    eventually(done, what, patience, 0.05)
    return time.monotonic()


def play(cluster: Cluster, load: Load, name: str, how: str, lasts: float, rest: float, exact: bool) -> None:
    """`exact`: what is configured holds by the clock, too."""
    part = name.partition("-")[0]
    watch = {"edge": Edge, "broker": Nodes}.get(part, Askers)(cluster, load, name, how)
    begin = time.monotonic()
    cluster.harm(name, how)
    noticed = until(watch.noticed, f"{name} {how} to be noticed", PATIENCE)
    time.sleep(max(0.0, begin + lasts - time.monotonic()))
    cluster.heal(name, how)
    back = time.monotonic()
    watch.healed(back)
    used = until(watch.used, f"{name} to be used again", PATIENCE)
    time.sleep(max(rest, back + rest - time.monotonic()))
    fault = Fault(name, how, begin, noticed, back, used)
    notes = load.since(begin)
    fault.says(notes)
    assert not load.wrong, load.wrong[:5]
    for edge in range(2):  # whatever it was, clients of both edges are served well in the end
        late = [note for note in notes if note.edge == edge and note.at > used]
        assert [note for note in late if note.fault is None]
        assert how == "cut" or errors(late) == []
    watch.judge(fault, notes, rest)
    if exact:
        assert noticed - begin <= watch.notice_within
        assert used - back <= watch.use_within


class Askers:
    """Of a shield or a server: those who ask it."""

    use_within = RETURN

    def __init__(self, cluster: Cluster, load: Load, name: str, how: str) -> None:
        self.cluster, self.name, self.how = cluster, name, how
        self.notice_within = NOTICED[name[:6]]
        self.before = self._ejections()
        self.answered = [0]

    def _ejections(self) -> list[int]:
        return [one["ejections"] for one in self.cluster.seen(self.name)]

    def noticed(self) -> bool:
        """One of them has left it alone, or has seen how slow it is."""
        if self.how == "slow":
            return any(one["average_ms"] >= 100 for one in self.cluster.seen(self.name))
        return any(now > then for now, then in zip(self._ejections(), self.before, strict=True))

    def healed(self, back: float) -> None:
        self.answered = [one["answered"] for one in self.cluster.seen(self.name)]

    def used(self) -> bool:
        """All of them count it in whole, and it answers."""
        known = self.cluster.seen(self.name)
        more = [one["answered"] > then for one, then in zip(known, self.answered, strict=True)]
        return all(more) and all(one["state"] == "up" for one in known)

    def judge(self, fault: Fault, notes: list[Note], rest: float) -> None:
        found = errors(notes)
        if self.how == "slow":
            assert found == []
        elif self.how != "cut":  # only an answer that was under way is lost
            assert len(found) <= 8
            assert [note for note in found if note.at - fault.begin > LIMIT] == []
        else:  # every trial of it may cost an answer, one a second from each who asks
            assert len(found) <= 3 * 4 * 2 + 4 * (fault.back - fault.begin + rest) + 8
            assert [note for note in found if note.at > fault.back + 1] == []


class Edge:
    """Of an edge: its clients."""

    use_within = RETURN

    def __init__(self, cluster: Cluster, load: Load, name: str, how: str) -> None:
        self.load, self.edge, self.how = load, int(name[-1]) - 1, how
        self.notice_within = PATIENCE
        self.since = time.monotonic()

    def _notes(self, since: float) -> list[Note]:
        return [note for note in self.load.since(since) if note.edge == self.edge]

    def noticed(self) -> bool:
        """They get errors, or nothing more, or wait for all."""
        notes = self._notes(self.since)
        if self.how == "slow":
            return any(note.seconds > SLOWNESS for note in notes)
        return bool(errors(notes)) or not [note for note in notes if note.at > time.monotonic() - 0.5]

    def healed(self, back: float) -> None:
        self.since = back

    def used(self) -> bool:
        return any(note.fault is None for note in self._notes(self.since))

    def judge(self, fault: Fault, notes: list[Note], rest: float) -> None:
        found = errors(notes)
        assert [note for note in found if note.edge != self.edge] == []
        assert [note for note in found if note.at > fault.back + LIMIT] == []
        assert found or self.how in ("stall", "slow"), "an edge that is not there serves nobody"
        if self.how == "slow":
            assert found == []


class Nodes:
    """Of the broker: all nodes."""

    notice_within = NOTICED["broker"]
    use_within = REJOINED

    def __init__(self, cluster: Cluster, load: Load, name: str, how: str) -> None:
        self.cluster, self.how = cluster, how
        self.connections = [bus(node)["connections"] for node in cluster.nodes]

    def noticed(self) -> bool:
        known = [bus(node) for node in self.cluster.nodes]
        if self.how == "slow":  # a purge is as late as it must be, and comes to all
            begin = time.monotonic()
            self._purge()
            return time.monotonic() - begin > SLOWNESS
        if self.how == "restart":  # it may be connected again already
            pairs = zip(known, self.connections, strict=True)
            return all(one["connections"] > then or not one["connected"] for one, then in pairs)
        return not any(one["connected"] for one in known)

    def healed(self, back: float) -> None:
        pass

    def used(self) -> bool:
        return all(bus(node)["connected"] for node in self.cluster.nodes)

    def judge(self, fault: Fault, notes: list[Note], rest: float) -> None:
        assert errors(notes) == []
        self._purge()
        assert [bus(node)["gaps"] for node in self.cluster.nodes] == [0] * 4

    def _purge(self) -> None:
        targets = [f"http://site.test/hot/{number}" for number in range(HOT)]
        sequence = purge(self.cluster.nodes[-1], urls=targets)["sequence"]
        eventually(
            lambda: all(bus(node)["sequence"] >= sequence for node in self.cluster.nodes),
            "a purge everywhere",
        )


@pytest.mark.timeout(300)
def test_each_part_fails_and_comes_back_under_load(cluster: Cluster) -> None:
    with Load(cluster.doors, 4) as load:
        time.sleep(1.5)
        assert errors(load.notes) == []
        for name, how in QUICK:
            # A stall lasts longer than anybody waits for it, so that it is seen to be left alone.
            lasts = STALLED[name.partition("-")[0]] if how == "stall" else 1
            play(cluster, load, name, how, lasts, 0.6, False)
    assert len({note.edge for note in load.notes}) == 2


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_each_part_fails_in_each_way_for_ten_seconds(cluster: Cluster) -> None:
    with Load(cluster.doors, 8) as load:
        time.sleep(3)
        for name, how in ALL:
            play(cluster, load, name, how, 10, 3, True)


def all_down(cluster: Cluster, lasts: float) -> None:
    for edge in cluster.edges:  # however slow the machine: what is called stored is stored
        for number in range(HOT):
            with RawClient(edge.port, timeout=8) as client:
                assert client.get(f"/hot/{number}").status == 200

    def stale() -> int:  # a shield serves it stale to an edge, for which it is an answer
        return sum(int(node.stats()["outcomes"]["stale-sie"]) for node in cluster.nodes)

    with Load(cluster.doors, 3) as load:
        time.sleep(1.5)
        before, begin = stale(), time.monotonic()
        for name in ("origin-1", "origin-2"):
            cluster.harm(name, "kill")
        time.sleep(lasts)
        down = load.since(begin)
        after, end = stale(), time.monotonic()
        for name in ("origin-1", "origin-2"):
            cluster.heal(name, "kill")
        back = time.monotonic()
        used = until(
            lambda: any(note.kind == "off" and note.fault is None for note in load.since(back)),
            "an answer of an origin",
            PATIENCE,
        )
        time.sleep(2.5)
        notes = load.since(begin)
        hot = [note for note in notes if note.kind == "hot"]
        fault = Fault("all origins", "down", begin, begin, back, used)
        fault.says(notes)
        fault.says(hot)
        assert not load.wrong, load.wrong[:5]
        assert errors(hot) == []
        assert after > before
        # and it was a real outage: what had to come from an origin failed, what was stored was served though stale
        assert [note for note in down if note.kind == "off" and note.fault is not None]
        for edge in range(2):
            assert [note for note in hot if note.edge == edge and end - 1 < note.at < end]
        assert [note for note in errors(notes) if note.at > back + LIMIT] == []
        assert [note for note in notes if note.kind == "off" and note.fault is None and note.at > used]


def test_no_client_sees_an_error_of_what_is_stored_while_all_origins_are_down(cluster: Cluster) -> None:
    all_down(cluster, 2)


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_no_client_sees_an_error_of_what_is_stored_while_all_origins_are_down_for_a_minute(
    cluster: Cluster,
) -> None:
    all_down(cluster, 60)
