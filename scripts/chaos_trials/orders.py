"""What a process is told at its start, and the points at which it may be told to end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

TENANTS = tuple(f"tenant-{number}" for number in range(8))


class Role(StrEnum):
    WORKER = "worker"
    TOOLBOX = "toolbox"
    API = "api"


class Point(StrEnum):
    """Where a process ends. An effect is a tool's write, or a model's answer."""

    BEFORE_CLAIM = "before claim"
    CLAIM_REPLIED = "claimed, not begun"
    CLAIMED = "after claim"
    BEFORE_EFFECT = "before effect"
    MID_TEXT = "in the text"
    AFTER_EFFECT = "after effect"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"


class Action(StrEnum):
    KILL = "kill"
    STOP = "stop"


class Breakage(StrEnum):
    """What can be broken on purpose, to see that it is found."""

    NONE = ""
    FENCE = "fence"  # a commit takes its lease back first
    ACKNOWLEDGE = "acknowledge"  # some commits are acknowledged and not sent
    EFFECT = "effect"  # an at-most-once tool is run again
    KEY = "key"  # the idempotency key differs from try to try
    EVENT = "event"  # a watcher is told an event twice
    LEFTOVER = "leftover"  # an ended run leaves a lease


@dataclass(frozen=True, slots=True)
class Orders:
    """`point` is met at its `nth` passage. `pace_ms` is the model's time for an answer."""

    role: Role
    redis: str
    outside: int
    log: str
    shards: int = 4
    slots: int = 4
    lease_s: float = 1.0
    pace_ms: float = 2.0
    point: Point | None = None
    nth: int = 1
    action: Action = Action.KILL
    breakage: Breakage = Breakage.NONE
    seed: int = 0
    limits: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Orders:
        given = json.loads(text)
        given["role"] = Role(given["role"])
        given["action"] = Action(given["action"])
        given["breakage"] = Breakage(given["breakage"])
        given["point"] = Point(given["point"]) if given["point"] else None
        return cls(**given)
