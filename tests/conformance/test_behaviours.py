"""Every behaviour of the tables, through a running proxy with its default route: `required` ones are the MUSTs of the
documents, `optimal` ones what a cache may do and a good one does. Their names begin with the section (of RFC 9111 where
no other is named)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

import pytest

from tests.harness import Origin, site
from tests.harness.proxy import Proxy

from . import freshness, invalidation, partial, storing, targeted, use, validation, vary
from .dialogue import Stage, Steps
from .requirements import REQUIREMENTS

TABLES = (storing, freshness, use, validation, vary, invalidation, partial, targeted)


def _all(level: str) -> dict[str, Steps]:
    made: dict[str, Steps] = {}
    for table in TABLES:
        prefix = table.__name__.rpartition(".")[2]
        made.update({f"{prefix}/{name}": steps for name, steps in getattr(table, level).items()})
    return made


REQUIRED, OPTIMAL = _all("REQUIRED"), _all("OPTIMAL")


@contextmanager
def _stage(
    cache: dict[str, object] | None = None, framing: str = "length", fills: bool = True
) -> Iterator[Stage]:
    made: Stage
    with Origin(lambda request: made.rule(request)) as origin, Proxy(site(origin, cache)) as proxy:
        made = Stage(origin, proxy, framing, fills)
        yield made


class Both:
    """The same dialogue with the fill lane and without it: the same answers, at the same moments."""

    def __init__(self, filling: Stage, general: Stage) -> None:
        self.filling, self.general = filling, general

    def play(self, name: str, steps: Steps) -> None:
        apart = self.filling.proxy.now() - self.general.proxy.now()
        (self.general if apart > 0 else self.filling).proxy.advance(abs(apart))
        seen, without = self.filling.play(name, steps), self.general.play(name, steps)
        for number, (one, other) in enumerate(zip(seen, without, strict=True)):
            assert one == other, f"{name}, step {number}: with and without the fill lane"


@pytest.fixture(scope="module", params=["length", "chunked"])
def stage(request: pytest.FixtureRequest) -> Iterator[Both]:
    with (
        _stage(framing=request.param) as made,
        _stage(framing=request.param, fills=False) as general,
    ):
        yield Both(made, general)


@pytest.fixture(scope="module")
def lenient() -> Iterator[Stage]:
    """The two switches by which a route follows RFC 9111 where our defaults are more careful."""
    with _stage({"request_directives": "all", "heuristic_errors": True}) as made:
        yield made


@pytest.mark.parametrize("name", REQUIRED)
def test_required(stage: Both, name: str) -> None:
    stage.play(name, REQUIRED[name])


@pytest.mark.parametrize("name", OPTIMAL)
def test_optimal(stage: Both, name: str) -> None:
    stage.play(name, OPTIMAL[name])


@pytest.mark.parametrize("name", use.LOOSENED)
def test_what_clients_may_loosen(lenient: Stage, name: str) -> None:
    lenient.play("loosened/" + name, use.LOOSENED[name])


@pytest.mark.parametrize("name", use.GUESSED)
def test_guessed_for_errors(lenient: Stage, name: str) -> None:
    lenient.play("guessed/" + name, use.GUESSED[name])


@pytest.mark.parametrize(("section", "asked", "shown_by"), REQUIREMENTS)
def test_requirements_are_shown(section: str, asked: str, shown_by: list[str]) -> None:
    names = [*REQUIRED, *OPTIMAL, *(f"loosened/{name}" for name in use.LOOSENED)]
    for pattern in shown_by:
        assert any(fnmatchcase(name, pattern) for name in names), f"§{section}, {asked}: no {pattern}"


def test_every_section_has_requirements() -> None:
    known = {section for section, _, _ in REQUIREMENTS}
    wanted = ["3", *(f"3.{n}" for n in range(1, 6)), "4", "4.1", *(f"4.2.{n}" for n in range(1, 5))]
    wanted += [*(f"4.3.{n}" for n in range(1, 6)), "4.4", "5.1", "5.2", *(f"5.2.1.{n}" for n in range(1, 8))]
    wanted += [*(f"5.2.2.{n}" for n in range(1, 11)), "5.3", "5.4"]
    assert set(wanted) <= known
