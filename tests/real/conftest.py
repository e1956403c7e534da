from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ..harness import Origin
from .cluster import SECRET
from .content import answer


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(answer, patience=20) as made:
        yield made


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """By which shields know their edges."""
    monkeypatch.setenv(SECRET, "a secret of more than 16 characters")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made
