"""What lies outside Redis and the processes: the ledger of effects, and what processes told."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.tools import Effect
from scripts.chaos_trials.orders import Role
from scripts.chaos_trials.reports import HOST


@dataclass(frozen=True, slots=True)
class Written:
    tag: str
    kind: str


@dataclass(slots=True)
class Ledger:
    """What the tools effected, by key. A repeated idempotent write changes nothing."""

    effects: defaultdict[str, list[Written]] = field(default_factory=lambda: defaultdict(list))
    repeats: int = 0

    def write(self, key: str, tag: str, kind: str) -> None:
        if kind == Effect.IDEMPOTENT and self.effects.get(key):
            self.repeats += 1
            return
        self.effects[key].append(Written(tag, kind))


@dataclass(slots=True)
class Child:
    """A process as it told of itself. `held` has what it claimed and did not commit."""

    pid: int
    role: Role
    port: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    held: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Ending:
    """A process was about to end, or to stop, at its point."""

    pid: int
    role: Role
    point: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """`outcome` is "done" for an item's result, "asked" for a question to a person, the reason of
    a refusal, or "cancelled": it may be done or not.
    """

    pid: int
    item: str
    attempt: int
    outcome: str
    tokens: int
    at: float


@dataclass(slots=True)
class Outside:
    """The server that processes report to, on `port` of loopback."""

    port: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    children: dict[int, Child] = field(default_factory=dict)
    endings: list[Ending] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    _of_run: defaultdict[str, list[Commit]] = field(default_factory=lambda: defaultdict(list))
    claims: Counter[str] = field(default_factory=Counter)
    attempts: dict[str, int] = field(default_factory=dict)  # the last that was claimed
    slowest: dict[str, float] = field(default_factory=dict)
    recoveries: list[tuple[float, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _orphans: dict[str, float] = field(default_factory=dict)
    _holders: dict[str, Child] = field(default_factory=dict)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Outside:
        server = self._server = await asyncio.start_server(self._serve, HOST, 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def until(self, child: Child, moment: asyncio.Event, *, limit_s: float) -> None:
        """Waits for a moment of the child.

        Raises:
            RuntimeError: it ended instead, or the limit has passed.
        """
        waits = [asyncio.ensure_future(e.wait()) for e in (moment, child.ended)]
        try:
            await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if not moment.is_set():
            raise RuntimeError(f"the {child.role.value} {child.pid} did not get ready")

    async def a_commit(self) -> None:
        """Waits until a commit from now on is acknowledged."""
        first = len(self.commits)
        while all(commit.outcome != "done" for commit in self.commits[first:]):
            self.changed.clear()
            await self.changed.wait()

    def expect(self, pid: int, role: Role) -> Child:
        return self.children.setdefault(pid, Child(pid, role))

    def commits_of(self, run_id: str) -> list[Commit]:
        return self._of_run.get(run_id, [])

    def forget_orphans_of(self, run_id: str) -> None:
        """The run has ended: nobody has to take its items up again."""
        for item in [i for i in self._orphans if i.startswith(f"{run_id}:")]:
            del self._orphans[item]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        child: Child | None = None
        try:
            while line := await reader.readline():
                told = json.loads(line)
                if told["what"] == "effect":
                    self.ledger.write(told["key"], told["tag"], told["kind"])
                    writer.write(b"%d\n" % told["n"])
                    continue
                child = self._heard(told)
        except ConnectionError:
            pass  # the child was killed: its end is seen to below
        finally:
            if child is not None:
                self._buried(child)
            writer.close()

    def _heard(self, told: dict[str, Any]) -> Child:
        pid = told["pid"]
        child = self.children.get(pid) or self.expect(pid, Role(told["role"]))
        match told["what"]:
            case "ready":
                child.port = told.get("port", 0)
                child.ready.set()
            case "claim":
                self._claimed(child, told["items"], told["at"])
            case "commit":
                child.held.discard(told["item"])
                commit = Commit(
                    pid,
                    told["item"],
                    told["attempt"],
                    told["outcome"],
                    told["tokens"],
                    told["at"],
                )
                self.commits.append(commit)
                self._of_run[commit.item.partition(":")[0]].append(commit)
            case "ending":
                child.held.update(told["items"] if told["point"] != "after commit" else ())
                self.endings.append(Ending(pid, child.role, told["point"], tuple(told["items"])))
            case "slow":
                name = told["operation"]
                self.slowest[name] = max(self.slowest.get(name, 0.0), told["seconds"])
        self.changed.set()
        return child

    def _claimed(self, child: Child, items: list[tuple[str, int]], at: float) -> None:
        for item, attempt in items:
            # A process may die before it can tell of a claim: then the item was lost more often.
            losses = max(1, attempt - self.attempts.get(item, 0))
            self.attempts[item] = max(attempt, self.attempts.get(item, 0))
            before = self._holders.get(item)
            if before is not None:
                before.held.discard(item)
            self._holders[item] = child
            child.held.add(item)
            self.claims[item] += 1
            died = self._orphans.pop(item, None)
            if died is not None:
                self.recoveries.append(((at - died) / losses, item))

    def _buried(self, child: Child) -> None:
        """Its line is cut: it is dead, and what it held has to be taken up by another."""
        now = time.monotonic()
        child.ended.set()
        for item in child.held:
            self._orphans[item] = now
        self.changed.set()
