"""A Config as YAML in normal form: every key with its value, in the order of the contract, no secrets."""

from __future__ import annotations

from typing import Any

import yaml

from cdn.config.kinds import Bare
from cdn.config.schema import CONFIG
from cdn.config.values import Config


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _bare(dumper: _Dumper, word: Bare) -> yaml.Node:
    tag = {"null": "null", "off": "bool"}.get(word, "str")
    return dumper.represent_scalar(f"tag:yaml.org,2002:{tag}", str(word))


_Dumper.add_representer(Bare, _bare)


def render(config: Config) -> str:
    """YAML that `parse` reads back as the same Config, but for field values that are hidden as secrets."""
    return yaml.dump(
        CONFIG.show(config),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        width=110,
        allow_unicode=True,
    )
