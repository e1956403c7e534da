"""Active health checks: each server of an origin is asked for one path, every so often.

Decides when a check is made and whether it passed. Must not know what follows from it: that is `health`. Every
worker makes its own checks, since each judges its servers for itself.
"""

from __future__ import annotations

import asyncio
import random

from cdn.config.values import HealthCheck, Origin
from cdn.rules.message import Fields
from cdn.tier.call import Call, host_value
from cdn.tier.own import OwnServer
from cdn.tier.seam import OriginError, OriginRequest

SPREAD = 0.1  # of the interval, so that workers and servers do not stay in step


async def passes(server: OwnServer, origin: Origin, check: HealthCheck) -> str | None:
    """One check. None where it passed, else what was wrong, in a few words."""
    request = OriginRequest("GET", check.path, check.host, Fields([("User-Agent", "cdn-health-check")]))
    host = check.host or host_value(origin, server.address, request)
    try:
        async with asyncio.timeout(check.timeout / 1000) as limit:
            status = await server.probe(Call(request, host))
    except OriginError as error:
        return error.detail
    except TimeoutError:
        assert limit.expired()
        return f"no answer within {check.timeout / 1000:g} s"
    good = status in check.statuses if check.statuses else 200 <= status < 300
    return None if good else f"it answers {status}"


async def watch(server: OwnServer, origin: Origin, check: HealthCheck) -> None:
    """Check for ever; the first time at once. Runs until it is cancelled."""
    while True:
        fault = await passes(server, origin, check)
        server.health.checked(server.now(), fault)
        await asyncio.sleep(check.every / 1000 * random.uniform(1 - SPREAD, 1 + SPREAD))
