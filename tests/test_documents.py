"""What the documents name is there: linked files and headings, and the files of this repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config/cluster/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`([\w.][\w./-]*\.(?:pyx|pxd|pyi|py|yaml|sh|c))`")
FOLDERS = ("bench", "cdn", "config", "tests", "tools", ".ci")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as its viewers make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def files() -> list[str]:
    found = [str(path.relative_to(ROOT)) for name in FOLDERS for path in (ROOT / name).rglob("*.*")]
    return [*found, *(path.name for path in ROOT.glob("*.*"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            dead.append(link)
    assert not dead


def test_named_files_exist() -> None:
    """In full, or by their last parts: `fill/recipe.pyx`, `sending.py`."""
    there = files()
    ends = {end for path in there for end in (path, *(path[i + 1 :] for i, c in enumerate(path) if c == "/"))}
    missing = [
        f"{page.name}: {name}"
        for page in PAGES
        for name in FILE.findall(page.read_text(encoding="utf-8"))
        if name not in ends
    ]
    assert not missing


def test_all_files_of_an_extension_module_are_in_it() -> None:
    """A `.pyx` that no other includes, and that setup.py does not build, is dead text."""
    sources = sorted((ROOT / "cdn").rglob("*.pyx"))
    included = {
        (source.parent / name).resolve()
        for source in sources
        for name in re.findall(r'^include "([^"]+)"', source.read_text(encoding="utf-8"), re.MULTILINE)
    }
    built = {ROOT / name for name in re.findall(r'"(cdn/[\w/]+\.pyx)"', (ROOT / "setup.py").read_text())}
    assert {source.resolve() for source in sources} == included | built
