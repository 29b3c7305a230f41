"""The answers of each tenant in five keys and a lease for each flight, by one script a method."""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from orchestrator.adapters.redis_state.connection import Client, Command, Refusal, Reply
from orchestrator.adapters.redis_state.scripts import script
from orchestrator.domain.base import Value
from orchestrator.domain.errors import Unavailable
from orchestrator.ports.answers import (
    AnswerCache,
    AnswerKey,
    AnswerLimits,
    Candidate,
    Likeness,
    Put,
    StoredAnswer,
)

log = logging.getLogger(__name__)

PATIENCE_S = 1.0
REST_S = 1.0
"""How long nobody asks a server that did not answer."""

_LUA = Path(__file__).with_name("lua")


class _Entry(Value):
    """What is stored: an answer that says whose it is, and to what."""

    tenant: str
    digest: str
    answer: StoredAnswer


class RedisAnswers(AnswerCache):
    def __init__(
        self,
        client: Client,
        limits: AnswerLimits = AnswerLimits(),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._limits = limits
        self._clock = clock
        self._rests_until = 0.0

    async def claim(
        self, key: AnswerKey, flight: str, *, owner: str, lease_s: float
    ) -> StoredAnswer | bool:
        keys = [*_keys(key.tenant), _lease(key.tenant, flight)]
        reply = await self._run("claim", keys, (key.digest, owner, _ms(lease_s)))
        if isinstance(reply, int):
            return bool(reply)
        answer = _read(key, reply)
        return True if answer is None else answer  # written by another version: replace it

    async def extend(self, key: AnswerKey, flight: str, *, owner: str, lease_s: float) -> None:
        await self._run("extend", [_lease(key.tenant, flight)], (owner, _ms(lease_s)))

    async def release(self, key: AnswerKey, flight: str, *, owner: str) -> None:
        await self._run("release", [_lease(key.tenant, flight)], (owner,))

    async def put(
        self,
        key: AnswerKey,
        answer: StoredAnswer,
        *,
        flight: str,
        owner: str,
        likeness: Likeness | None = None,
    ) -> Put:
        entry = _Entry(tenant=key.tenant, digest=key.digest, answer=answer).model_dump_json()
        member = _member(key.digest, likeness) if likeness else ""
        size = len(entry.encode()) + len(member)
        if size > min(self._limits.answer_bytes, self._limits.bytes):
            await self.release(key, flight, owner=owner)
            return Put(stored=False)
        limits = self._limits
        evicted = await self._run(
            "put",
            [*_keys(key.tenant), _lease(key.tenant, flight)],
            (key.digest, owner, entry, member, _ms(limits.ttl_s), limits.entries, limits.bytes),
        )
        return Put(stored=True, evicted=int(evicted), added_bytes=size)

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        reply = await self._run("get", _keys(key.tenant), (key.digest,))
        return None if reply is None else _read(key, reply)

    async def alike(self, tenant: str, group: str, *, most: int) -> Sequence[Candidate]:
        likenesses = _keys(tenant)[3]
        query = ("ZRANGE", likenesses, f"[{group}:", f"({group};", "BYLEX", "LIMIT", 0, most)
        members = await self._ask(query)
        found = (member.split(":", 2) for member in members)
        return [Candidate(digest, b64decode(vector)) for _, digest, vector in found]

    async def _run(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Reply:
        source = script(name, _LUA)
        command: Command = ("EVALSHA", source.sha, len(keys), *keys, *args)
        try:
            return await self._ask(command)
        except _NotLoaded:
            await self._ask(("SCRIPT", "LOAD", source.source))
            return await self._ask(command)

    async def _ask(self, command: Command) -> Reply:
        if self._clock() < self._rests_until:
            raise _away("it did not answer a moment ago")
        try:
            async with asyncio.timeout(PATIENCE_S):
                (reply,) = await self._client.execute([command])
        except (OSError, TimeoutError) as error:
            self._rests_until = self._clock() + REST_S
            raise _away(type(error).__name__) from error
        if isinstance(reply, Refusal):
            if reply.code == "NOSCRIPT":
                raise _NotLoaded
            self._rests_until = self._clock() + REST_S
            raise _away(reply.code) from reply
        return reply


class _NotLoaded(Exception):
    """The server does not know the script."""


def _keys(tenant: str) -> list[str]:
    """KEYS[1..5] of the scripts. One hash tag: one script may change all of a tenant's."""
    prefix = f"fleet:{{answers:{tenant}}}:"
    return [prefix + name for name in ("entries", "used", "sizes", "likenesses", "members")]


def _lease(tenant: str, flight: str) -> str:
    return f"fleet:{{answers:{tenant}}}:lease:{flight}"


def _member(digest: str, likeness: Likeness) -> str:
    return f"{likeness.group}:{digest}:{b64encode(likeness.vector).decode()}"


def _read(key: AnswerKey, stored: str) -> StoredAnswer | None:
    try:
        entry = _Entry.model_validate_json(stored)
    except ValidationError:
        log.warning("a stored answer can't be read: %s", key.digest)
        return None
    if (entry.tenant, entry.digest) != (key.tenant, key.digest):
        log.error("a stored answer is another's: %s", key.digest)
        return None
    return entry.answer


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _away(why: str) -> Unavailable:
    return Unavailable(f"the cache of answers can't be used: {why}", reason="STORE_UNAVAILABLE")
