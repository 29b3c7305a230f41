"""The event feed in Redis: streams for what was, one listening connection for what comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.codec import check_tenant, event_from
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.subscription import Subscription
from orchestrator.domain import ids
from orchestrator.domain.errors import NotFound, OutOfRange
from orchestrator.domain.events import RunEvent
from orchestrator.domain.runs import RunState
from orchestrator.ports.state import EventFeed

BATCH = 64  # a watcher that is not read holds so many events, of up to 64 KiB
BUFFERED_MESSAGES = 256  # of one watcher; one that is slower reads the stream again
BUFFERED_CHARS = 262_144
LOOK_S = 30.0  # a quiet watcher looks into the stream this often, whatever it was told


class RedisEventFeed(EventFeed):
    def __init__(self, database: Database) -> None:
        self._db = database
        self._watchers: dict[str, set[_Watcher]] = {}
        self._subscription = Subscription(
            database.url, on_message=self._on_message, on_ready=self._on_ready
        )

    async def close(self) -> None:
        await self._subscription.close()

    async def read(
        self, tenant: str, run_id: str, *, after_seq: int, limit: int
    ) -> tuple[RunEvent, ...]:
        events, _ = await self._read(tenant, run_id, after_seq, limit)
        return events

    async def _read(
        self, tenant: str, run_id: str, after_seq: int, limit: int
    ) -> tuple[tuple[RunEvent, ...], bool]:
        """Returns events, and whether the run has ended with no event after them."""
        shard = ids.shard_from(run_id, field="run_id")
        run, stream, _ = keys.run(shard, check_tenant(tenant), run_id)
        first = after_seq + 1
        (owner, state, last_seq), entries = await self._db.ask(
            [
                ("HMGET", run, "tenant", "state", "seq"),
                ("XRANGE", stream, f"{max(first, 0)}-0", "+", "COUNT", limit),
            ]
        )
        if owner != tenant:
            raise NotFound(f"there is no run {run_id}")
        events = tuple(
            event_from(run_id, int(entry.partition("-")[0]), meta, payload)
            for entry, (_, meta, _, payload) in entries
        )
        earliest = events[0].seq if events else int(last_seq) + 1
        if first < earliest and first <= int(last_seq):
            raise OutOfRange(
                f"events of run {run_id} before {earliest} are gone; "
                f"after_seq must be at least {earliest - 1}, not {after_seq}",
                metadata={"earliest_seq": str(earliest)},
            )
        reached = events[-1].seq if events else after_seq
        return events, RunState(state).terminal and reached >= int(last_seq)

    async def follow(self, tenant: str, run_id: str, *, after_seq: int) -> AsyncIterator[RunEvent]:
        channel = keys.channel(ids.shard_from(run_id, field="run_id"), run_id)
        watcher = _Watcher(tenant, run_id)
        self._add(channel, watcher)
        try:
            while True:
                while watcher.behind:
                    watcher.begin()
                    events, ended = await self._read(tenant, run_id, after_seq, BATCH)
                    watcher.behind |= len(events) == BATCH
                    for event in events:
                        after_seq = event.seq
                        yield event
                    if ended:
                        return
                for event in watcher.take(after_seq):
                    after_seq = event.seq
                    yield event
                    if event.terminal:
                        return
                if not watcher.behind:
                    await watcher.wait()
        finally:
            self._remove(channel, watcher)

    def _add(self, channel: str, watcher: _Watcher) -> None:
        watchers = self._watchers.setdefault(channel, set())
        if not watchers:
            self._subscription.add(channel)
        watchers.add(watcher)

    def _remove(self, channel: str, watcher: _Watcher) -> None:
        watchers = self._watchers[channel]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[channel]
            self._subscription.remove(channel)

    def _on_message(self, channel: str, text: str) -> None:
        for watcher in self._watchers.get(channel, ()):
            watcher.put(text)

    def _on_ready(self, channel: str) -> None:
        for watcher in self._watchers.get(channel, ()):
            watcher.lose()


class _Watcher:
    """What was told and not yet yielded. `behind`: the stream has to be read."""

    def __init__(self, tenant: str, run_id: str) -> None:
        self.behind = True
        self._tenant = tenant
        self._run_id = run_id
        self._messages: deque[str] = deque()
        self._chars = 0
        self._news = asyncio.Event()

    def begin(self) -> None:
        self.behind = False
        self._news.clear()

    def put(self, text: str) -> None:
        full = self._chars + len(text) > BUFFERED_CHARS
        if full or len(self._messages) >= BUFFERED_MESSAGES:
            self.lose()
        elif not self.behind:
            self._messages.append(text)
            self._chars += len(text)
        self._news.set()

    def lose(self) -> None:
        self._messages.clear()
        self._chars = 0
        self.behind = True
        self._news.set()

    def take(self, after_seq: int) -> list[RunEvent]:
        """Returns the events that continue from `after_seq`; a gap makes us `behind`."""
        self._news.clear()
        self._chars = 0
        events: list[RunEvent] = []
        while self._messages:
            tenant, first, meta, *payloads = self._messages.popleft().split("\n")
            if tenant != self._tenant:
                continue
            if int(first) > after_seq + 1:
                self.lose()
                break
            skipped = max(0, after_seq + 1 - int(first))
            for payload in payloads[skipped:]:
                after_seq += 1
                events.append(event_from(self._run_id, after_seq, meta, payload))
        return events

    async def wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._news.wait()
                return
        self.behind = True
