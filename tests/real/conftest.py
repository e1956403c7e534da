from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..harness import Origin
from .content import answer


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(answer, patience=20) as made:
        yield made
