"""Each file in golden/ beside what it gives: the normalised configuration (.out) or every mistake (.err).

After a wanted change, `CDN_UPDATE_GOLDEN=1 pytest tests/config/test_golden.py` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdn.config import ConfigError, load, parse, render

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(FOLDER.glob("*.yaml"))


def outcome(case: Path) -> tuple[str, str]:
    """(".out" | ".err", text), the folder written as /golden and the file without its folder."""
    try:
        suffix, text = ".out", render(load(case))
    except ConfigError as error:
        suffix, text = ".err", f"{error}\n"
    return suffix, text.replace(f"{case.parent}/{case.name}", case.name).replace(str(case.parent), "/golden")


def test_there_are_enough() -> None:
    assert len(CASES) >= 60
    expected = [path for path in FOLDER.iterdir() if path.suffix in {".out", ".err"}]
    assert {path.stem for path in expected} == {case.stem for case in CASES}
    assert len(expected) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_golden(case: Path) -> None:
    suffix, text = outcome(case)
    assert suffix == (".out" if case.stem.startswith("ok-") else ".err"), text
    expected = case.with_suffix(suffix)
    if os.environ.get("CDN_UPDATE_GOLDEN"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", [c for c in CASES if c.stem.startswith("ok-")], ids=lambda case: case.stem)
def test_normal_form_is_a_fixed_point(case: Path) -> None:
    config = load(case)
    normal = render(config)
    again = parse(normal, base="/nowhere")
    assert render(again) == normal
    if "secrets" not in case.stem:
        assert again == config
