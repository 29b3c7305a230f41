"""Answers in this process's memory: for tests, and what the adapter for Redis is compared with."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.ports.answers import (
    AnswerCache,
    AnswerKey,
    AnswerLimits,
    Candidate,
    Likeness,
    Put,
    StoredAnswer,
)

_Flight = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: StoredAnswer
    size: int
    expires: float
    likeness: Likeness | None


@dataclass(slots=True)
class _Tenant:
    entries: OrderedDict[str, _Entry] = field(default_factory=OrderedDict)  # oldest use first
    size: int = 0

    def drop(self, digest: str) -> None:
        entry = self.entries.pop(digest, None)
        self.size -= entry.size if entry else 0


class MemoryAnswers(AnswerCache):
    def __init__(
        self,
        limits: AnswerLimits = AnswerLimits(),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._tenants: dict[str, _Tenant] = {}
        self._leases: dict[_Flight, tuple[str, float]] = {}

    async def claim(
        self, key: AnswerKey, flight: str, *, owner: str, lease_s: float
    ) -> StoredAnswer | bool:
        answer = await self.get(key)
        if answer is not None:
            return answer
        if self._holder(key, flight) in (None, owner):
            self._leases[key.tenant, flight] = owner, self._clock() + lease_s
            return True
        return False

    async def extend(self, key: AnswerKey, flight: str, *, owner: str, lease_s: float) -> None:
        if self._holder(key, flight) == owner:
            self._leases[key.tenant, flight] = owner, self._clock() + lease_s

    async def release(self, key: AnswerKey, flight: str, *, owner: str) -> None:
        if self._holder(key, flight) == owner:
            del self._leases[key.tenant, flight]

    async def put(
        self,
        key: AnswerKey,
        answer: StoredAnswer,
        *,
        flight: str,
        owner: str,
        likeness: Likeness | None = None,
    ) -> Put:
        await self.release(key, flight, owner=owner)
        size = len(answer.model_dump_json().encode())
        if size > min(self._limits.answer_bytes, self._limits.bytes):
            return Put(stored=False)
        tenant = self._tenants.setdefault(key.tenant, _Tenant())
        tenant.drop(key.digest)
        expires = self._clock() + self._limits.ttl_s
        tenant.entries[key.digest] = _Entry(answer, size, expires, likeness)
        tenant.size += size
        return Put(stored=True, evicted=self._evict(tenant), added_bytes=size)

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        tenant = self._tenants.get(key.tenant, _Tenant())
        entry = tenant.entries.get(key.digest)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            tenant.drop(key.digest)
            return None
        tenant.entries.move_to_end(key.digest)
        return entry.answer

    async def alike(self, tenant: str, group: str, *, most: int) -> Sequence[Candidate]:
        found = [
            Candidate(digest, entry.likeness.vector)
            for digest, entry in self._tenants.get(tenant, _Tenant()).entries.items()
            if entry.likeness is not None and entry.likeness.group == group
        ]
        return sorted(found, key=lambda candidate: candidate.digest)[:most]

    def _evict(self, tenant: _Tenant) -> int:
        evicted = 0
        while len(tenant.entries) > self._limits.entries or tenant.size > self._limits.bytes:
            tenant.drop(next(iter(tenant.entries)))
            evicted += 1
        return evicted

    def _holder(self, key: AnswerKey, flight: str) -> str | None:
        owner, until = self._leases.get((key.tenant, flight), ("", 0.0))
        if until <= self._clock():
            self._leases.pop((key.tenant, flight), None)
            return None
        return owner
