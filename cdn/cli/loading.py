"""Reads a configuration file for a command: warnings to stderr, mistakes as the command's refusal."""

from __future__ import annotations

import sys

from cdn.cli.errors import Refused
from cdn.config import ConfigError, load, warnings
from cdn.config.values import Config


def read(path: str) -> Config:
    """The configuration in `path`; Refused with one line a mistake."""
    try:
        config = load(path)
    except ConfigError as error:
        raise Refused(*map(str, error.problems), bare=True) from error
    for warning in warnings(config):
        print(f"warning: {warning}", file=sys.stderr)
    return config
