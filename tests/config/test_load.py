"""Files: where they are, what cannot be read, and where relative paths start."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdn.config import ConfigError, Problem, load, parse
from cdn.config.loading import MAX_BYTES

GOOD = """\
listen: [http://127.0.0.1:8080]
log: {access: {to: ./access.log}}
origins:
  app: {servers: [http://127.0.0.1:9000]}
routes:
  - {match: {host: [a.example]}, origin: app}
"""


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem).replace(str(path), "FILE") for problem in caught.value.problems]


def test_a_missing_file(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml") == ["FILE: cannot be read: No such file or directory"]


def test_a_folder(tmp_path: Path) -> None:
    assert problems(tmp_path) == ["FILE: cannot be read: Is a directory"]


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load("a\0b")


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(GOOD.encode() + "# naïve".encode("latin-1"))
    assert problems(path) == ["FILE:7: the text is not UTF-8"]


def test_too_long(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert problems(path) == ["FILE: is longer than 4 MiB, so it is no configuration"]


@pytest.mark.parametrize("text", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD.rstrip("\n")])
def test_marks_and_line_ends(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(text.encode())
    assert load(path) == parse(GOOD, base=tmp_path)


def test_lines_are_counted_with_any_line_end(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(GOOD.replace("a.example", "a..example").replace("\n", "\r\n").encode())
    assert problems(path) == [
        "FILE:6: `routes[0].match.host[0]` is `a..example`; `a..example` is no host name"
    ]


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "site.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    config = load("etc/site.yaml")
    assert config.access_log is not None
    assert config.access_log.to == str(tmp_path / "etc" / "access.log")
    assert config.source == "etc/site.yaml"


def test_the_error_is_its_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("listen: 1\norigins: 2\n", "x.yaml")
    lines = [problem.line for problem in caught.value.problems]
    assert lines == sorted(lines)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    assert str(Problem("x.yaml", 3, "is so")) == "x.yaml:3: is so"
    assert str(Problem("x.yaml", 0, "is so")) == "x.yaml: is so"
