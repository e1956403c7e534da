"""The check of the hot path finds Python where it must not be, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "tools" / "check_hot.py"
spec = importlib.util.spec_from_file_location("check_hot", FILE)
assert spec is not None
assert spec.loader is not None
check_hot = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_hot)

MODULE = """
cdef dict table = {}

cdef int leaf(int n) except -1:
    return n

# hot
cdef int clean(const char* text, int n,
               int more) except -1:
    \"\"\"Of no weight.\"\"\"
    cdef int i
    for i in range(n):
        if text[i] == 58:
            return leaf(more)
    return 0

# hot
cdef int planted(int n) except -1:
    cdef int m = leaf(n)
    MIDDLE
    return m

cdef int cold(int n) except -1:
    return len(table) + n

def reach(int n):
    return clean(b"a", n, 1) + planted(n) + cold(n)
"""


def judged(tmp_path: Path, middle: str) -> list[str]:
    module = tmp_path / "planted.pyx"
    module.write_text(MODULE.replace("MIDDLE", middle))
    sentences: list[str] = check_hot.check([module])
    return [sentence.removeprefix(f"{module}:") for sentence in sentences]


@pytest.mark.parametrize("middle", ["m += 1", "table[m] = n  # python: ownership"])
def test_what_is_clean_or_told_passes(tmp_path: Path, middle: str) -> None:
    assert judged(tmp_path, middle) == []


@pytest.mark.parametrize("middle", ["table[m] = n", "m = int(str(n))", "print(n)"])
def test_python_is_found_where_it_is(tmp_path: Path, middle: str) -> None:
    (sentence,) = judged(tmp_path, middle)
    assert sentence.startswith("20: touches Python (")
    assert sentence.endswith(middle)


def test_a_reason_has_to_be_of_the_list_and_true(tmp_path: Path) -> None:
    assert judged(tmp_path, "table[m] = n  # python: laziness")[0].startswith(
        "20: laziness is none of the reasons"
    )
    assert judged(tmp_path, "m += 1  # python: transport")[0].startswith(
        "20: is told to touch Python and does not"
    )


def test_nothing_marked_is_an_error(tmp_path: Path) -> None:
    module = tmp_path / "planted.pyx"
    module.write_text("cdef int leaf(int n):\n    return n\n")
    assert check_hot.check([module]) == ["no function is marked hot: something is wrong with this check"]


def test_there_are_five_reasons_at_most() -> None:
    assert len(check_hot.REASONS) <= 5
