"""How a model does at this moment."""

from __future__ import annotations

from dataclasses import dataclass

_BESIDE = 1 / 12
"""What a request that is being answered adds to another's time, in parts of that time: of 64 at
once each had its tokens at a sixth of the pace of one alone, in OpenVINO's engine on two cores."""


@dataclass(frozen=True, slots=True)
class ModelSignals:
    """`in_flight` are this process's requests; `waiting` those in the engine's own queue.

    `ttft_ms` and `tpot_ms` (to the first token, and for each further one) were measured lately
    and are of a request alone: `crowding` is taken out of them. None: not known.
    """

    in_flight: int = 0
    waiting: int | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None


UNMEASURED = ModelSignals()


def crowding(in_flight: int, waiting: int | None) -> tuple[float, float]:
    """Returns by how much others make the first token later, and each further one.

    Those that are being answered share the engine's steps; one that waits has its turn before.
    """
    shared = 1 + in_flight * _BESIDE
    return shared + (waiting or 0), shared
