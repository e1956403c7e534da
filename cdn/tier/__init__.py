"""Where a fill comes from: origins, their servers and connections. Knows neither clients nor storage.

One `Origins(config.origins)` a worker, made inside its running loop; `fetch` and `upgrade` answer with an
`OriginResponse` or a `Tunnel`, or raise `OriginError`. The shapes are in `seam`.
"""

from cdn.tier.origins import Origins
from cdn.tier.seam import (
    DEFAULT_UPGRADES,
    Kind,
    OnInterim,
    OriginError,
    OriginRequest,
    OriginResponse,
    Tunnel,
    allowed_upgrade,
)
from cdn.tier.upstream import Attempt

__all__ = [
    "DEFAULT_UPGRADES",
    "Attempt",
    "Kind",
    "OnInterim",
    "OriginError",
    "OriginRequest",
    "OriginResponse",
    "Origins",
    "Tunnel",
    "allowed_upgrade",
]
