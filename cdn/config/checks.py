"""Mistakes that no single key shows: keys that contradict each other, names of nothing, one address twice."""

from __future__ import annotations

from typing import Any

from cdn.config.addresses import collide, is_loopback
from cdn.config.document import Mapping, Node
from cdn.config.kinds import BAD, Reader
from cdn.config.problems import quote, suggestion
from cdn.config.sections import lines_of, names_of
from cdn.config.values import OriginTls


def check_admin(node: Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    address = values.get("address", BAD)
    if address is BAD:
        return
    line = lines_of(node)["listen"]
    if address.scheme != "http":
        reader.wrong(line, f"{path}.listen", "is https; the admin listener is http")
    if values.get("token_env") is None and not is_loopback(address):
        reader.wrong(
            line,
            f"{path}.listen",
            f"is {quote(str(address))}, which others can reach; without `token_env` it must be on loopback",
        )


def check_eject(node: Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    pause, longest = values.get("pause", BAD), values.get("longest", BAD)
    if pause is not BAD and longest is not BAD and pause > longest:
        lines = lines_of(node)
        name = "longest" if "longest" in lines else "pause"
        reader.wrong(
            lines[name], f"{path}.{name}", "makes `pause` longer than `longest`; the pause grows up to it"
        )


def check_pool(node: Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    """A server stands once, and what is for https has an https server."""
    servers, backup, lines = values.get("servers", BAD), values.get("backup", ()), lines_of(node)
    if servers is BAD or backup is BAD:
        return
    first = [server.address for server in servers]
    for index, server in enumerate(backup):
        if server.address in first:
            reader.wrong(lines["backup"], f"{path}.backup[{index}]", "is one of `servers` already")
    bucket = values.get("s3")
    if bucket is not None and (bucket is BAD or bucket.endpoint.scheme == "https"):
        return
    if values.get("tls") not in (None, BAD, OriginTls()) and not any(
        server.address.scheme == "https" for server in (*servers, *backup)
    ):
        reader.wrong(lines["tls"], f"{path}.tls", "is for https servers, and the origin has none")


def check_query_key(node: Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    if values.get("ignore") and values.get("only") is not None:
        reader.wrong(
            lines_of(node)["only"], f"{path}.only", "stands beside `ignore`; one of them says it all"
        )


def check_whole(root: Node, reader: Reader) -> None:
    """What needs the whole file: every origin that a route names, every address that is bound."""
    origins = list(names_of(root, "origins"))
    for line, path, name in reader.references:
        if name not in origins:
            reader.wrong(
                line, path, f"is {quote(name)}, and no origin is called so{suggestion(name, origins)}"
            )
    for index, (line, path, address) in enumerate(reader.bound):
        for first, other_path, other in reader.bound[:index]:
            if collide(other, address):
                where = f"`{other_path}` on line {first}"
                reader.wrong(line, path, f"is {quote(str(address))}, which {where} takes already ({other})")
                break
