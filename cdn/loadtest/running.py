"""Which generator does a plan, and the way from the plan to a result; does no load itself."""

from __future__ import annotations

import resource
import shutil
import socket
import ssl
from collections.abc import Callable

from cdn.loadtest import errors, generator, h2load, profile, target, wrk
from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.plan import Plan
from cdn.loadtest.result import Moment, Result
from cdn.loadtest.tally import Tally, latency

GENERATORS = ("auto", "own", "wrk", "h2load")
SPARE_FILES = 64
BUSY = 0.9  # of its core: the generator was what limited the test
LATE_US = 1000


def run(
    plan: Plan,
    wanted: str = "auto",
    *,
    allowed_host: str | None = None,
    progress: Callable[[Moment, Tally], None] = lambda _moment, _tally: None,
    begins: Callable[[str], None] = lambda _sentence: None,
) -> Result:
    """Runs the plan. `wanted` is one of GENERATORS; `begins` is told what is about to happen.

    LoadTestError when the plan does not fit, the host is not local and not `allowed_host`, or nobody listens.
    """
    plan.check()
    name, why = choose(plan, wanted)
    found = target.addresses(plan.target)
    foreign = [address for address in found if not target.is_local(address)]
    if foreign and (allowed_host or "").lower() != plan.target.host.lower():
        raise LoadTestError(
            f"{plan.target.host} ({foreign[0]}) is not of this machine or a private network: a load test there "
            f"may be taken for an attack. If it is yours to load, add --allow-host {plan.target.host}"
        )
    heads = profile.heads(plan) if name != "h2load" else None
    _have_files(plan.connections)
    context = tls_context(plan)
    address = _connectable(plan, found, context)
    begins(f"{name}: {why}")
    if name == "wrk":
        return wrk.run(plan, address, why)
    if name == "h2load":
        return h2load.run(plan, address, why)
    assert heads is not None
    return _own(plan, address, context, generator.generate(plan, address, context, heads, progress), why)


def choose(plan: Plan, wanted: str) -> tuple[str, str]:
    """(generator, why this one); LoadTestError when the wanted one cannot do the plan."""
    if plan.http2:
        if (
            plan.rate is not None
            or plan.trace is not None
            or plan.zipf is not None
            or plan.objects is not None
        ):
            raise LoadTestError("--http2 is a closed loop of one URL or of --urls: leave the rest out")
        if wanted not in ("auto", "h2load"):
            raise LoadTestError(f"--http2 needs h2load: {wanted} speaks HTTP/1.1 only")
        if shutil.which("h2load") is None:
            raise LoadTestError(
                "--http2 needs h2load, which is not installed: apt-get install nghttp2-client"
            )
        return "h2load", "HTTP/2"
    if wanted == "h2load":
        raise LoadTestError("h2load is used for HTTP/2 only: add --http2")
    plain = all(value.isascii() for _, value in plan.fields)  # what a command line carries as it is
    fits = plan.rate is None and plan.one_url and plan.ca is None and plain
    if wanted == "wrk" and not fits:
        raise LoadTestError(
            "wrk does a closed loop of one URL only (without --ca, fields in ASCII): leave --generator out"
        )
    if wanted == "own":
        return "own", "as asked"
    if not fits:
        return "own", "a fixed rate" if plan.rate is not None else "more than wrk can ask for"
    if shutil.which("wrk") is None:
        if wanted == "wrk":
            raise LoadTestError("wrk is not installed: apt-get install wrk")
        return "own", "wrk, which is faster, is not installed"
    return "wrk", "a closed loop of one URL"


def tls_context(plan: Plan) -> ssl.SSLContext | None:
    """What the target needs; LoadTestError for authorities that cannot be read."""
    if not plan.target.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=str(plan.ca) if plan.ca else None)
    except (OSError, ssl.SSLError) as error:
        raise LoadTestError(f"--ca {plan.ca}: {error.strerror or error}") from None
    if plan.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if plan.http2:
        context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _connectable(plan: Plan, found: list[str], context: ssl.SSLContext | None) -> str:
    """The first address that takes a connection, TLS included."""
    why = ""
    for address in found:
        try:
            with socket.create_connection((address, plan.target.port), plan.timeout) as connection:
                if context is not None:
                    connection = context.wrap_socket(connection, server_hostname=plan.target.host)
                with connection:
                    if plan.http2:
                        h2load.check(plan, connection)
                return address
        except (OSError, ssl.SSLError) as error:
            why = errors.connect_kind(error).removeprefix(errors.CONNECT)
    hint = (
        " (--insecure takes any certificate, --ca FILE names your authority)" if "certificate" in why else ""
    )
    place = f"[{plan.target.host}]" if ":" in plan.target.host else plan.target.host
    raise LoadTestError(f"no connection to {place}:{plan.target.port}: {why}{hint}", failed=True)


def _have_files(connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise LoadTestError(
                f"{connections} connections need {needed} open files, {hard} are allowed: ulimit -n"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _own(plan: Plan, address: str, context: ssl.SSLContext | None, ran: generator.Run, why: str) -> Result:
    tally = ran.tally
    result = Result(
        url=plan.target.url,
        generator="own",
        why=why,
        mode=f"open loop, {plan.rate:g} a second" if plan.rate else "closed loop",
        profile=plan.profile,
        protocol="HTTP/1.1 over TLS" if context is not None else "HTTP/1.1",
        connections=plan.connections,
        seconds=ran.seconds,
        due=ran.due,
        answered=tally.answered,
        bytes=tally.bytes,
        errors=dict(sorted(tally.errors.items())),
        statuses={str(status): count for status, count in sorted(tally.statuses.items())},
        outcomes={kind: h.count for kind, h in sorted(tally.totals.items())},
        latency=latency(tally.whole()),
        by_outcome={kind: latency(h) for kind, h in sorted(tally.totals.items())},
        series=tally.series,
        reconnects=ran.reconnects,
        failed_connects=ran.failed_connects,
        own_cpu=round(ran.cpu, 3),
        own_lag_us=ran.lag_us,
        interrupted=ran.interrupted,
    )
    if ran.cpu >= BUSY:
        result.notes.append(
            f"the generator itself was the bottleneck: it used {ran.cpu:.0%} of its core, so the server may be faster "
            "and its times shorter; give it a --rate below this, or run several at once"
        )
    elif ran.lag_us >= LATE_US:
        result.notes.append(
            f"the generator was late by itself: {ran.lag_us / 1000:.1f} ms at p99, which is in the times; this machine "
            "is busy with something else, perhaps with the server"
        )
    if errors.UNSENT in tally.errors or tally.waited.count:
        result.notes.append(
            "what was not answered is in the times with as long as it waited, which is too short"
        )
    return result
