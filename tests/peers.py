"""The real programs that some tests run against. Missing ones skip the test and say so; with CI=true they
fail it.
"""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest

_PACKAGES = {
    "nginx": "nginx-light",
    "h2load": "nghttp2-client",
    "systemd-analyze": "systemd",
}


def need(program: str) -> str:
    """The path of `program`; skips (in CI: fails) the test without it."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        _missing(f"{program} is not installed: apt-get install {_PACKAGES.get(program, program)}")
    return path


def need_folder(folder: str, package: str) -> Path:
    """`folder` as brought by the Debian `package`; skips (in CI: fails) the test without it."""
    if not Path(folder).is_dir():
        _missing(f"{folder} is not there: apt-get install {package}")
    return Path(folder)


def _missing(sentence: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def need_module(name: str, package: str) -> Any:
    """The Python module `name`; skips (in CI: fails) the test without it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _missing(f"{name} is not installed: pip install '{package}'")
