"""URLs of listeners and servers, and networks in CIDR form: text to normal form, or the reason why not.

Decides nothing about whether an address exists or is free.
"""

from __future__ import annotations

import ipaddress
import re

from cdn.config.problems import BadValueError, nearest, quote
from cdn.config.values import Address

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
MAX_SOCKET_PATH = 107  # sun_path in <sys/un.h>, and a NUL
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_server(text: str) -> Address:
    """The address of an origin's server: `http://host[:port]`, https, or `unix:/path`. Raises BadValueError."""
    if text.lower().startswith("unix:"):
        return _parse_unix(text)
    address = _parse_url(text)
    if address.port == 0:
        raise BadValueError(f"is {_shown(text)}; a port is a number from 1 to 65535")
    return address


def parse_listener(text: str) -> Address:
    """Where to listen: an address of this machine or a name of it; port 0 takes a free one."""
    if text.lower().startswith("unix:"):
        raise BadValueError(f"is {_shown(text)}; listening on a unix socket is not available yet")
    return _parse_url(text)


def parse_broker(text: str) -> Address:
    """The address of a NATS server: `nats://host[:4222]`, or `tls://` for TLS. Raises BadValueError."""
    found = _URL.fullmatch(text)
    if found is None or found[1].lower() not in ("nats", "tls"):
        raise BadValueError(
            f"is {_shown(text)}; it must be a URL such as `nats://127.0.0.1:4222`, or `tls://…`"
        )
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    if "@" in authority:
        raise BadValueError(
            f"is {_shown(text)}; write the token, user or password into a variable: `token_env`"
        )
    if rest:
        raise BadValueError(f"is {_shown(text)}; it ends with the port: leave out {quote(rest)}")
    host, port = _split(text, authority)
    try:
        number = 4222 if port is None else _parse_port(port)
        if number == 0:
            raise BadValueError("a port is a number from 1 to 65535")
        return Address(scheme, parse_host(host), number)
    except BadValueError as error:
        raise BadValueError(f"is {_shown(text)}; {error}") from None


def _parse_unix(text: str) -> Address:
    path = text[len("unix:") :]
    if path.startswith("//"):
        path = path[2:] if path.startswith("///") else path
    if not path.startswith("/") or path.startswith("//"):
        raise BadValueError(f"is {_shown(text)}; a unix socket is an absolute path: `unix:/run/app.sock`")
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise BadValueError(
            f"is longer than the {MAX_SOCKET_PATH} bytes that a unix socket's path may have; use a shorter one"
        )
    if "\0" in path or not path.isprintable():
        raise BadValueError(f"is {_shown(text)}; a socket's path has no control characters")
    return Address("http", "localhost", 80, path)


def _shown(text: str) -> str:
    """The URL for a message, without the password it may carry."""
    return quote(re.sub(r"//[^/@]*@", "//…@", text))


def _parse_url(text: str) -> Address:
    found = _URL.fullmatch(text)
    if found is None:
        if re.fullmatch(r"[A-Za-z0-9_.\[\]:-]+", text):
            host = f"127.0.0.1:{text}" if text.isdigit() else text.strip(":")
            raise BadValueError(f"is {_shown(text)}, which has no scheme; write `http://{host}`")
        raise BadValueError(f"is {_shown(text)}; it must be a URL such as `http://127.0.0.1:8080`")
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    if scheme not in _DEFAULT_PORTS:
        near = nearest(scheme, _DEFAULT_PORTS) or "http"
        raise BadValueError(f"is {_shown(text)}; there is no scheme {quote(scheme)}; did you mean `{near}`?")
    if "@" in authority:
        raise BadValueError(f"is {_shown(text)}; a user or password has no place in it")
    if rest:
        raise BadValueError(f"is {_shown(text)}; it ends with the port: leave out {quote(rest)}")
    host, port = _split(text, authority)
    try:
        return Address(
            scheme, parse_host(host), _DEFAULT_PORTS[scheme] if port is None else _parse_port(port)
        )
    except BadValueError as error:
        raise BadValueError(f"is {_shown(text)}; {error}") from None


def _split(text: str, authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in literal:
            raise BadValueError(
                f"is {_shown(text)}; an IPv6 address stands in brackets, such as `http://[::1]:8080`"
            )
        return literal, rest[1:] if rest else None
    if authority.count(":") > 1:
        raise BadValueError(
            f"is {_shown(text)}; an IPv6 address stands in brackets, such as `http://[::1]:8080`"
        )
    host, colon, port = authority.partition(":")
    if not host:
        raise BadValueError(
            f"is {_shown(text)}; the host is missing (`0.0.0.0` and `[::]` are every address)"
        )
    return host, port if colon else None


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 6 or int(text) > 65535:
        raise BadValueError(f"a port is a number from 1 to 65535, not {quote(text)}")
    return int(text)


def parse_host(text: str) -> str:
    """A host name in lower case, or an IP literal (IPv6 without brackets) in its normal form.

    Raises BadValueError with a sentence of its own, not one that begins with a key.
    """
    if "%" in text:
        raise BadValueError("addresses with a zone are not supported")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    host = text.lower()
    if not host.isascii():
        raise BadValueError(f"a host name is ASCII here: write {punycode(host)}")
    if host == "*":
        raise BadValueError("for every address of this machine write `0.0.0.0` or `[::]`")
    if host.endswith("."):
        raise BadValueError("leave out the final dot of the host name")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadValueError(f"{quote(text)} is no host name")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise BadValueError(f"{quote(text)} is neither a host name nor an IPv4 address")
    return host


def punycode(host: str) -> str:
    """How a host name with other letters is written in ASCII, quoted, or the advice to do so (RFC 5891)."""
    try:
        return quote(host.encode("idna").decode("ascii"))
    except UnicodeError:
        return "its punycode form, which begins with `xn--`"


def parse_authority(text: str) -> str:
    """The value of a Host field: a host in lower case and perhaps a port. Raises BadValueError."""
    if "://" in text or "/" in text:
        raise BadValueError(f"is {quote(text)}; it is a host name, not a URL")
    host, port = _split(text, text)
    try:
        name = parse_host(host)
        suffix = "" if port is None else f":{_parse_port(port)}"
    except BadValueError as error:
        raise BadValueError(f"is {quote(text)}; {error}") from None
    return f"[{name}]{suffix}" if ":" in name else name + suffix


def parse_server_name(text: str) -> str:
    """The name in a certificate: a host without a port. Raises BadValueError."""
    if "://" in text or "/" in text:
        raise BadValueError(f"is {quote(text)}; it is a host name, not a URL")
    try:
        return parse_host(text)
    except BadValueError as error:
        raise BadValueError(f"is {quote(text)}; {error}") from None


def parse_network(text: str) -> str:
    """A network in CIDR form, normalised; an address alone is the network of one. Raises BadValueError."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        wide = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadValueError(
            f"is {quote(text)}; it must be a network such as `10.0.0.0/8` or `fd00::/8`"
        ) from None
    raise BadValueError(f"is {quote(text)}, which has bits set behind its prefix; did you mean `{wide}`?")


def is_loopback(address: Address) -> bool:
    """Whether only this machine can reach it."""
    if address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def collide(one: Address, other: Address) -> bool:
    """Whether the second cannot be bound while the first is: the same port on the same or every address."""
    if one.port != other.port or one.port == 0:
        return False
    if one.host == other.host:
        return True
    first, second = ("127.0.0.1" if host == "localhost" else host for host in (one.host, other.host))
    same_family = (":" in first) == (":" in second)
    return first == second or (same_family and bool({"0.0.0.0", "::"} & {first, second}))
