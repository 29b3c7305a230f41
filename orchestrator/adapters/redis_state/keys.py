"""The names of the keys. A key's hash tag is its shard, its tenant is in it.

`fleet:{s0a}:run:<tenant>:<run id>`: ids have no colon, so a tenant may.
"""

from __future__ import annotations

from functools import cache

WORK_CHANNEL = "fleet:work:"
CANCEL_CHANNEL = "fleet:cancels"
LAYOUT = "fleet:layout"


@cache
def shard_prefix(shard: int) -> str:
    return f"fleet:{{s{shard:02x}}}:"


@cache
def queue(shard: int) -> tuple[str, ...]:
    """KEYS[1..8] of the scripts that need `_queue`."""
    prefix = shard_prefix(shard)
    names = (
        "queue:reason",
        "queue:tool",
        "ready:reason",
        "ready:tool",
        "counters",
        "leases",
        "items",
        "delayed",
    )
    return tuple(prefix + name for name in names)


def ready(shard: int, kind: str) -> str:
    return f"{shard_prefix(shard)}ready:{kind}"


def leases(shard: int) -> str:
    return f"{shard_prefix(shard)}leases"


@cache
def items(shard: int) -> str:
    return f"{shard_prefix(shard)}items"


def tenants(shard: int) -> str:
    return f"{shard_prefix(shard)}tenants"


def delayed(shard: int) -> str:
    return f"{shard_prefix(shard)}delayed"


def timeouts(shard: int) -> str:
    return f"{shard_prefix(shard)}timeouts"


def children(shard: int) -> str:
    return f"{shard_prefix(shard)}children"


def dead(shard: int) -> tuple[str, str, str]:
    """The dead letters, by tenant, by age."""
    prefix = shard_prefix(shard)
    return f"{prefix}dead", f"{prefix}dead:tenants", f"{prefix}dead:age"


def spend(shard: int) -> str:
    """What each tenant and agent has spent in the periods of budgets."""
    return f"{shard_prefix(shard)}spend"


def usage(shard: int, tenant: str, day: str) -> str:
    return f"{shard_prefix(shard)}usage:{tenant}:{day}"


def held(shard: int) -> tuple[str, str]:
    """Reservations that belong to no item, by token and by expiry."""
    prefix = shard_prefix(shard)
    return f"{prefix}held", f"{prefix}held:expiry"


def counters(shard: int) -> str:
    return f"{shard_prefix(shard)}counters"


def operation(shard: int, identifier: str) -> str:
    return f"{shard_prefix(shard)}op:{identifier}"


def expiring(shard: int) -> str:
    return f"{shard_prefix(shard)}expiring"


def request(shard: int, tenant: str, request_id: str) -> str:
    return f"{shard_prefix(shard)}request:{len(tenant)}:{tenant}:{request_id}"


def run(shard: int, tenant: str, run_id: str) -> tuple[str, str, str]:
    """The run, its events and its steps."""
    prefix = shard_prefix(shard)
    return (
        f"{prefix}run:{tenant}:{run_id}",
        f"{prefix}events:{tenant}:{run_id}",
        f"{prefix}steps:{tenant}:{run_id}",
    )


def session(shard: int, tenant: str, session_id: str) -> tuple[str, str]:
    """The session and its messages."""
    prefix = shard_prefix(shard)
    return f"{prefix}session:{tenant}:{session_id}", f"{prefix}messages:{tenant}:{session_id}"


def session_runs(shard: int, tenant: str, session_id: str) -> str:
    return f"{shard_prefix(shard)}session_runs:{tenant}:{session_id}"


def runs(shard: int, tenant: str) -> str:
    return f"{shard_prefix(shard)}runs:{tenant}"


def sessions(shard: int, tenant: str) -> str:
    return f"{shard_prefix(shard)}sessions:{tenant}"


def agent(shard: int, tenant: str, name: str) -> str:
    return f"{shard_prefix(shard)}agent:{tenant}:{name}"


def agents(shard: int, tenant: str) -> str:
    return f"{shard_prefix(shard)}agents:{tenant}"


def channel(shard: int, run_id: str) -> str:
    """Where a run's events are published; not a key."""
    return f"{shard_prefix(shard)}watch:{run_id}"


def changing(
    shard: int, tenant: str, session_id: str, run_id: str, days: tuple[str, str]
) -> list[str]:
    """KEYS[1..21] of the scripts that need `_run`."""
    prefix = shard_prefix(shard)
    return [
        *queue(shard),
        *run(shard, tenant, run_id),
        *session(shard, tenant, session_id),
        f"{prefix}wait:{tenant}:{session_id}",
        f"{prefix}session_runs:{tenant}:{session_id}",
        f"{prefix}expiring",
        f"{prefix}timeouts",
        f"{prefix}children",
        spend(shard),
        *(usage(shard, tenant, day) for day in days),
    ]
