"""The keys of both ends between tiers: the shields of an edge, the edges that a shield believes."""

from __future__ import annotations

from dataclasses import replace

from cdn.config import names
from cdn.config.checks import check_pool
from cdn.config.document import Mapping
from cdn.config.kinds import BAD, Reader, Text
from cdn.config.schema_origins import TIMEOUTS
from cdn.config.sections import Key, Section, lines_of
from cdn.config.values import PATIENCE, Edges, Shields, Tier

# What a pool of shields has in common with a pool of servers.
SHARED = ("servers", "health", "eject", "retry", "connections", "timeouts", "tls", "resolve")

VARIABLE = Text("the name of an environment variable", names.parse_environment_name)

EDGES = Section(
    Edges,
    (
        Key(
            "secret_env",
            VARIABLE,
            "The environment variable that holds the secret shared with the edges. Left out: only a client "
            "certificate (`listen[].client_ca`) shows an edge.",
        ),
    ),
    "edges",
)


def shields(origin: Section) -> Section:
    """`origin` is the section of a pool of servers."""
    pool = {key.name: key for key in origin.keys}
    patience = replace(TIMEOUTS, title="shields.timeouts", defaults={"first_byte": PATIENCE.first_byte})
    pool["timeouts"] = replace(pool["timeouts"], kind=patience)
    return Section(
        Shields,
        (
            pool["servers"],
            Key(
                "secret_env",
                VARIABLE,
                "The environment variable that holds the secret shared with the shields; without one our "
                "certificate (`tls`) has to show who we are.",
            ),
            *(pool[name] for name in SHARED[1:]),
        ),
        "shields",
        check_pool,
    )


def check_tiers(node: Mapping, values: dict[str, object], path: str, reader: Reader) -> None:
    """Only a shield believes edges."""
    who = values.get("node", BAD)
    if values.get("edges") is not None and who is not BAD and getattr(who, "tier", None) is not Tier.SHIELD:
        reader.wrong(
            lines_of(node)["edges"], "edges", "is for a shield; write `node: {tier: shield}` or leave it out"
        )
