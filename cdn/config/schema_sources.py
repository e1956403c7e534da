"""Origins that are no servers of one's own: a folder of files, a bucket of an object store.

The keys of both, and what an origin of that kind cannot have beside them.
"""

from __future__ import annotations

import re
from typing import Any

from cdn.config import addresses, names
from cdn.config.document import Mapping
from cdn.config.files import ReadableFolder
from cdn.config.kinds import Reader, Text
from cdn.config.problems import BadValueError, quote
from cdn.config.sections import Key, ListOf, Section, lines_of
from cdn.config.values import Bucket, Directory

SOURCES = ("servers", "directory", "s3")
# What means nothing for a folder, and what the store's own address says for a bucket.
NOT_A_FOLDERS = (
    "host",
    "balance",
    "timeouts",
    "backup",
    "tls",
    "connections",
    "retry",
    "eject",
    "health",
    "resolve",
)
NOT_A_BUCKETS = ("host", "balance", "backup", "health")


def _file_name(text: str) -> str:
    if not text or "/" in text or "\0" in text or text in {".", ".."}:
        raise BadValueError(f"is {quote(text)}; it must be the name of a file, without a folder")
    return text


def _bucket_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", text):
        raise BadValueError(f"is {quote(text)}; a bucket's name is 3 to 63 letters, digits, `.`, `_` and `-`")
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,64}", text):
        raise BadValueError(f"is {quote(text)}; a region is written like `eu-west-1`")
    return text


def _prefix(text: str) -> str:
    if text.startswith("/") or not text.isprintable() or len(text) > 512:
        raise BadValueError(f"is {quote(text)}; a prefix is the beginning of keys, such as `site/`")
    return text


FILE_NAME = Text("the name of a file", _file_name)
VARIABLE = Text("the name of an environment variable", names.parse_environment_name)

DIRECTORY = Section(
    Directory,
    (
        Key("path", ReadableFolder(), "The folder whose files are answered; nothing outside it ever is."),
        Key(
            "index",
            ListOf(FILE_NAME, "[index.html]"),
            "The file for a path that ends with `/`; the first there is.",
        ),
        Key("not_found", FILE_NAME, "The page sent with 404, where the folder has it."),
    ),
    "origins.NAME.directory",
    short=True,
)
BUCKET = Section(
    Bucket,
    (
        Key(
            "endpoint",
            Text("a URL such as `https://s3.eu-west-1.amazonaws.com`", addresses.parse_server),
            "Where the object store is; the bucket is named in the path.",
        ),
        Key("bucket", Text("a bucket's name", _bucket_name, literal=True), "The bucket."),
        Key("region", Text("a region", _region), "The region that requests are signed for."),
        Key("prefix", Text("a prefix", _prefix), "Put before the path to make an object's key."),
        Key("index", FILE_NAME, "The object for a path that ends with `/`."),
        Key("key_id_env", VARIABLE, "The environment variable that holds the access key's id."),
        Key("secret_env", VARIABLE, "The environment variable that holds the secret access key."),
        Key(
            "session_env",
            VARIABLE,
            "The variable with the token of temporary credentials; used where it is set.",
        ),
    ),
    "origins.NAME.s3",
)


def check_origin(node: Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    """An origin is servers, or a folder, or a bucket."""
    lines = lines_of(node)
    given = [name for name in SOURCES if name in lines]
    if not given:
        reader.wrong(node.line, f"{path}.servers", "is missing")
    for name in given[1:]:
        reader.wrong(lines[name], f"{path}.{name}", f"stands beside `{given[0]}`; an origin is one of them")
    if len(given) != 1 or given[0] == "servers":
        return
    kind, without = ("folder", NOT_A_FOLDERS) if given[0] == "directory" else ("bucket", NOT_A_BUCKETS)
    for name in without:
        if name in lines:
            reader.wrong(lines[name], f"{path}.{name}", f"is for servers; this origin is a {kind}")


__all__ = ["BUCKET", "DIRECTORY", "check_origin"]
