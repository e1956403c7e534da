"""From a file or a text to a Config, or to every mistake in it."""

from __future__ import annotations

import dataclasses
import os

from cdn.config import document
from cdn.config.checks import check_whole
from cdn.config.kinds import BAD, Reader
from cdn.config.problems import ConfigError, Problem
from cdn.config.schema import CONFIG, HOMES
from cdn.config.values import Config

MAX_BYTES = 4 << 20


def load(path: str | os.PathLike[str]) -> Config:
    """The configuration in the file at `path`; relative paths in it start from its folder.

    Raises ConfigError with every mistake, also when the file cannot be read.
    """
    source = os.fspath(path)
    try:
        with open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError([Problem(source, 0, f"cannot be read: {reason}")]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(
            [Problem(source, 0, f"is longer than {MAX_BYTES >> 20} MiB, so it is no configuration")]
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(source, line, "the text is not UTF-8")]) from None
    return parse(text, source, os.path.dirname(os.path.abspath(source)))


def parse(text: str, source: str = "<text>", base: str | os.PathLike[str] = ".") -> Config:
    """The configuration in `text`; `source` names it in messages, relative paths in it start from `base`.

    Raises ConfigError with every mistake.
    """
    reader = Reader(source, os.path.abspath(base), HOMES)

    def report(line: int, message: str) -> None:
        reader.problems.append(Problem(source, line, message))

    root = document.read(text, report)
    if root is None:
        if not reader.problems:
            report(1, "the file is empty; it needs at least `listen`, `origins` and `routes`")
        raise ConfigError(reader.problems)
    config = CONFIG.read(root, "", reader)
    check_whole(root, reader)
    if reader.problems or config is BAD:
        raise ConfigError(reader.problems)
    assert isinstance(config, Config)
    return dataclasses.replace(config, source=source)
