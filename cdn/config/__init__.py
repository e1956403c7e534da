"""Configuration: YAML into frozen, typed values, every mistake with its file, its line and the way out.

The lowest floor: it knows no other part of the project. `values` are what the others read.
"""

from cdn.config.advice import warnings
from cdn.config.loading import load, parse
from cdn.config.problems import ConfigError, Problem
from cdn.config.rendering import render
from cdn.config.values import (
    AccessLog,
    Address,
    Admin,
    Bypass,
    CachePolicy,
    Config,
    FieldEdits,
    HeaderEdits,
    KeySpec,
    Limits,
    Listener,
    Match,
    Node,
    Origin,
    OriginTimeouts,
    QueryKey,
    Route,
    Server,
    StoreConfig,
    Tier,
    Timeouts,
)

__all__ = [
    "AccessLog",
    "Address",
    "Admin",
    "Bypass",
    "CachePolicy",
    "Config",
    "ConfigError",
    "FieldEdits",
    "HeaderEdits",
    "KeySpec",
    "Limits",
    "Listener",
    "Match",
    "Node",
    "Origin",
    "OriginTimeouts",
    "Problem",
    "QueryKey",
    "Route",
    "Server",
    "StoreConfig",
    "Tier",
    "Timeouts",
    "load",
    "parse",
    "render",
    "warnings",
]
