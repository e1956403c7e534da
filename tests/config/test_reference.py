"""The schema says everything: each value has its key, and docs/configuration.md is what the schema makes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from cdn.config import load, parse, values, warnings
from cdn.config.reference import reference
from cdn.config.schema import all_sections

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "config").rglob("*.yaml"))


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m cdn.config.reference > docs/configuration.md"


def test_links_lead_somewhere() -> None:
    page = reference()
    headings = {
        re.sub(r"[^a-z0-9_-]", "", heading.lower().replace(" ", "-"))
        for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= headings
    for path in re.findall(r"\]\(\.\./([^)]*)\)", page):
        assert (ROOT / path).is_file()


def test_each_section_stands_there_once() -> None:
    headings = re.findall(r"^## (.*)$", reference(), re.MULTILINE)
    assert len(headings) == len(set(headings))


def test_the_smallest_example_works() -> None:
    example = re.search(r"```yaml\n(.*?)```", reference(), re.DOTALL)
    assert example is not None
    assert parse(example[1]).routes[0].origin == "app"


def test_each_value_has_its_key() -> None:
    """A field of a value that no key sets could never be configured."""
    made = {section.make: section for section in all_sections()}
    by_name = {"Route": next(s for s in all_sections() if s.title == "routes[]")}
    elsewhere = {("Origin", "name"), ("Route", "index"), ("Config", "source")}
    for name, kind in vars(values).items():
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)) or name == "Address":
            continue
        section = made.get(kind) or by_name.get(name)
        assert section is not None, f"no section makes {name}"
        keys = {key.field for key in section.keys if not key.later}
        fields = {field.name for field in dataclasses.fields(kind)}
        assert {field for field in fields if (name, field) not in elsewhere} == keys, name


def test_every_key_is_explained() -> None:
    page = reference()
    for section in all_sections():
        for key in section.keys:
            assert key.help.endswith(".")
            assert key.name in page
            if key.kind is not None:
                assert key.kind.describe()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_right(path: Path) -> None:
    config = load(path)
    assert config.source == str(path)
    assert all("names no host" in said or "name no host" in said for said in warnings(config))


def test_there_are_the_examples() -> None:
    assert {"demo.yaml", "site.yaml"} <= {path.name for path in EXAMPLES}


def test_the_demo_is_on_loopback() -> None:
    config = load(ROOT / "config" / "demo.yaml")
    assert [str(listener.address) for listener in config.listen] == ["http://127.0.0.1:8080"]
    assert config.admin is not None
    assert str(config.admin.address) == "http://127.0.0.1:9090"
    assert [str(server.address) for server in config.origins["site"].servers] == ["http://127.0.0.1:9000"]
    assert config.store.memory == 128 << 20


def test_the_site_warns_of_nothing() -> None:
    assert warnings(load(ROOT / "config" / "site.yaml")) == []
