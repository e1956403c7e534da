"""docs/configuration.md, made from the schema: `python -m cdn.config.reference > docs/configuration.md`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

from cdn.config.kinds import OMIT, REQUIRED, Or
from cdn.config.schema import all_sections
from cdn.config.sections import Key, Section

_INTRODUCTION = """\
# Configuration

One YAML file says everything. `cdn check FILE` prints it in normal form with every default filled in, or
every mistake with file, line and the way out; `cdn serve FILE` starts with it; SIGHUP reads it again.

The smallest one:

```yaml
listen: [http://127.0.0.1:8080]
origins:
  app: {servers: [http://127.0.0.1:9000]}
routes:
  - {match: {path: /*}, origin: app}
```

Commented examples are [config/site.yaml](../config/site.yaml) and [config/demo.yaml](../config/demo.yaml).

## Rules for all keys

- An unknown key is a mistake, and so is a key that stands twice. A key whose feature is not built yet is
  the mistake "not available yet"; none is ever ignored.
- A key that is left out has its default. An empty key (`ttl:` and nothing behind it) is a mistake, except
  where `null` is one of its values.
- **Sizes** are whole numbers with a unit: `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024), `kB`, `MB`,
  `GB`, `TB` (powers of 1000). **Durations** likewise: `ms`, `s`, `m`, `h`, `d`. **Rates** are sizes per
  second: `1 KiB/s`. Only `0` needs no unit.
- **Files** are named relative to the folder of the configuration.
- **Secrets** do not stand in the file: a token is given by the name of an environment variable, a key by
  its file. Where a route sets a field whose name tells of a secret (`Authorization`, `Cookie`, `X-Api-Key`,
  …), the normal form prints `(hidden)` in place of its value.
- A text that YAML takes for something else needs quotes: `"*.example.org"`, `"yes"`.
- YAML's anchors, aliases and merge keys (`<<`) work.

## Matching

Routes are tried in the order of the file, and the first that matches wins. Hosts are compared without their
port and in lower case: `www.example.com` is that name alone, `*.example.org` any name below `example.org`,
but not itself. Names with other letters are written in punycode. A path pattern is compared with the whole
path in its normal form (escapes of unreserved characters decoded, other escapes in upper case, `.` and `..`
resolved), without the query; `*` is any run of characters, `/` included. A request whose Host no route
names is answered 421, one whose Host is known but that no route matches 404.

`cdn check` warns, without refusing, of a route without `host` (every Host is then known), of a route that
an earlier one hides, of an origin that no route uses, and of trust in every address.

## Edits of header fields

`remove` comes first, then `set`. Fields that frame a message or belong to one connection (`Connection`,
`Keep-Alive`, `Proxy-*` of one hop, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade`, `Content-Length`,
`Content-Range`, `Expect`), those that cdn writes (`Age`, `Cache-Status`, `CDN-Loop`, `Date`, `Via`) and
`Host` (see `origins.NAME.host`) cannot be edited; conditions and ranges (`If-*`, `Range`) cannot be set in
requests.

# Keys
"""


def reference() -> str:
    """The whole page as Markdown."""
    sections = {section.title: section for section in all_sections()}  # some stand in several places
    return _INTRODUCTION + "".join(map(_section, sections.values()))


def _section(section: Section) -> str:
    heading = f"`{section.title}`" if section.title else "The top"
    rows = "".join(_row(section, key) for key in section.keys if not key.later)
    table = f"| key | value | default | meaning |\n|---|---|---|---|\n{rows}"
    return f"\n## {heading}\n\n{''.join(_notes(section))}{table}{_later(section)}"


def _notes(section: Section) -> Iterator[str]:
    if section.short:
        yield f"The `{section.keys[0].name}` alone stands for a section that has nothing else.\n\n"


def _row(section: Section, key: Key) -> str:
    assert key.kind is not None
    return f"| `{key.name}` | {_cell(key.kind.describe())} | {_default(section, key)} | {_cell(key.help)} |\n"


def _default(section: Section, key: Key) -> str:
    value = section.default(key)
    if value is REQUIRED:
        return "required"
    assert key.kind is not None
    if value is None and not isinstance(key.kind, Or):
        return "–"
    shown = key.kind.show(value)
    if shown is OMIT:
        return "–"
    if isinstance(shown, dict) and shown:
        return "its own"
    return f"`{shown}`" if isinstance(shown, str) else f"`{json.dumps(shown)}`"


def _cell(text: str) -> str:
    """Text for a cell of a table, with links to the sections that it names."""
    linked = re.sub(r"section `([^`]+)`", lambda found: f"section [`{found[1]}`](#{_anchor(found[1])})", text)
    return linked.replace("|", "\\|")


def _anchor(title: str) -> str:
    """The anchor that Markdown viewers give to a heading."""
    return re.sub(r"[^a-z0-9_-]", "", title.lower())


def _later(section: Section) -> str:
    names = [
        f"`{key.name}` ({key.help[0].lower()}{key.help[1:].rstrip('.')})" for key in section.keys if key.later
    ]
    return f"\nNot available yet: {', '.join(names)}.\n" if names else ""


if __name__ == "__main__":
    sys.stdout.write(reference())
