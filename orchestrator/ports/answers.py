"""Answers that were given before, to be given again to the same tenant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from orchestrator.domain.base import Value
from orchestrator.domain.chat import FinishReason
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import Usage


class StoredAnswer(Value):
    """What a model said, and the tokens that it took. Nothing of what it was asked."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    reason: FinishReason
    usage: Usage = Usage()
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """`digest` is a SHA-256 of all that decides the answer, as hexadecimal digits."""

    tenant: str
    digest: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a request is like: `group` is a digest of what has to be the same for two requests
    to be compared at all, `vector` what is compared.
    """

    group: str
    vector: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored answer of the same group."""

    digest: str
    vector: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """What a write did to the tenant's answers, all together."""

    stored: bool
    evicted: int = 0
    added_bytes: int = 0


class AnswerLimits(Value):
    """Of each tenant; the answers that were not asked for the longest go first."""

    ttl_s: float = Field(default=3600.0, gt=0)
    entries: int = Field(default=10_000, ge=1)
    bytes: int = Field(default=64 * 1_048_576, ge=1)
    answer_bytes: int = Field(default=262_144, ge=1)  # a longer answer is not stored


class AnswerCache(ABC):
    """Every key and every value has its tenant; a value is checked against its key on reading.

    A lease says that somebody is asking the model: it is taken by `claim`, and ends by `put`,
    `release` or by itself.

    Every method raises:
        Unavailable: STORE_UNAVAILABLE. It says so fast: an answer does not wait for its cache.
    """

    @abstractmethod
    async def claim(
        self, key: AnswerKey, flight: str, *, owner: str, lease_s: float
    ) -> StoredAnswer | bool:
        """Returns the answer. Without one: whether `owner` has the lease of `flight` now; a
        lease that is owned already is returned again.
        """

    @abstractmethod
    async def extend(self, key: AnswerKey, flight: str, *, owner: str, lease_s: float) -> None:
        """Holds a lease for longer. One that is another's, or ended, stays as it is."""

    @abstractmethod
    async def release(self, key: AnswerKey, flight: str, *, owner: str) -> None:
        """Ends the lease, if it is `owner`'s."""

    @abstractmethod
    async def put(
        self,
        key: AnswerKey,
        answer: StoredAnswer,
        *,
        flight: str,
        owner: str,
        likeness: Likeness | None = None,
    ) -> Put:
        """Stores the answer in place of an earlier one, and ends the lease, if it is `owner`'s."""

    @abstractmethod
    async def get(self, key: AnswerKey) -> StoredAnswer | None: ...

    @abstractmethod
    async def alike(self, tenant: str, group: str, *, most: int) -> Sequence[Candidate]:
        """Returns the stored answers of a group, at most so many."""
