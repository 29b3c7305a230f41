"""Which of several replicas gets a request."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from orchestrator.adapters.triton.replica import Replica
from orchestrator.adapters.triton.ring import Ring

CAPACITY = 1.25
SLOW = 5.0
RETRY_SLOW_S = 5.0


def cheaper_of_two(
    replicas: Sequence[Replica], model: str, now: float, uniform: random.Random
) -> Replica:
    """The one where a request costs less, of two drawn at random.

    Source: "The Power of Two Choices in Randomized Load Balancing", Mitzenmacher, 2001; the cost
    is requests in flight times peak EWMA of the latency, as in Finagle and Linkerd.
    """
    drawn = uniform.sample(replicas, min(2, len(replicas)))
    return min(drawn, key=lambda r: (r.loads[model].cost(now), r.loads[model].in_flight))


def of_session(
    replicas: Sequence[Replica], ring: Ring, session: str, model: str, now: float
) -> Replica:
    """The session's own one, or the next on the ring while that is overloaded or slow.

    One may have CAPACITY times the requests in flight that each would have if all had as many.
    Source: "Consistent Hashing with Bounded Loads", Mirrokni, Thorup and Zadimoghaddam, 2018.

    One that takes SLOW times as long as the fastest gets a single request every RETRY_SLOW_S.
    """
    here = {replica.url: replica for replica in replicas}
    ordered = [here[url] for url in ring.order(session) if url in here]
    in_flight = sum(replica.loads[model].in_flight for replica in ordered)
    room = math.ceil(CAPACITY * (in_flight + 1) / len(ordered))
    with_room = [r for r in ordered if r.loads[model].in_flight < room] or ordered
    best_s = min((s for r in with_room if (s := r.loads[model].pace.mean_s)), default=0.0)
    return next((r for r in with_room if not _is_slow(r, model, best_s, now)), with_room[0])


def _is_slow(replica: Replica, model: str, best_s: float, now: float) -> bool:
    load = replica.loads[model]
    if not best_s or load.pace.mean_s is None or load.pace.mean_s <= SLOW * best_s:
        return False
    return load.in_flight > 0 or now - load.pace.last_s < RETRY_SLOW_S
