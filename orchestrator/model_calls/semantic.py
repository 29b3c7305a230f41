"""Answers to requests that mean the same as one that was answered before."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest, FinishReason
from orchestrator.domain.errors import FleetError
from orchestrator.domain.messages import Role
from orchestrator.model_calls.answer_keys import group_digest
from orchestrator.model_calls.wording import essence
from orchestrator.ports.answers import AnswerCache, AnswerKey, Likeness, StoredAnswer
from orchestrator.ports.models import Embedder

THRESHOLD = 0.9
CANDIDATES = 256
MAX_CHARS = 1_000
"""Of a question: the embedder reads 256 tokens, and longer ones do not come twice."""


@dataclass(frozen=True, slots=True)
class Similar:
    answer: StoredAnswer
    similarity: float


class SemanticIndex:
    """Compares first questions of a conversation, within one group: the same tenant, model, system
    prompt, tools and schema, and the same essence of the question's wording. Within it the most
    similar one counts, if the cosine of the embeddings is at least `threshold`.
    """

    def __init__(
        self,
        embedder: Embedder,
        answers: AnswerCache,
        *,
        threshold: float = THRESHOLD,
        candidates: int = CANDIDATES,
    ) -> None:
        """At most so many `candidates` of a group are compared."""
        self._embedder = embedder
        self._answers = answers
        self._threshold = threshold
        self._candidates = candidates

    async def likeness(
        self, request: ChatRequest, entry: ModelEntry, version: str
    ) -> Likeness | None:
        """None: this request is only answered by the same one, or the embedder is away."""
        asked = [message for message in request.messages if message.role is not Role.SYSTEM]
        if (
            len(asked) != 1
            or asked[0].role is not Role.USER
            or asked[0] is not request.messages[-1]
        ):
            return None  # a group is all but the last message's text
        text = asked[0].content
        if not text.strip() or len(text) > MAX_CHARS:
            return None
        try:
            (vector,) = await self._embedder.embed([text])
        except FleetError:
            return None
        group = group_digest(request, entry, version, "semantic", essence(text))
        return Likeness(group, quantised(vector))

    async def find(self, tenant: str, likeness: Likeness) -> Similar | None:
        try:
            candidates = await self._answers.alike(tenant, likeness.group, most=self._candidates)
            scored = [(cosine(each.vector, likeness.vector), each.digest) for each in candidates]
            for similarity, found in sorted(scored, reverse=True):
                if similarity < self._threshold:
                    return None
                answer = await self._answers.get(AnswerKey(tenant, found))
                if answer is not None:
                    return Similar(answer, similarity)
        except FleetError:
            return None
        return None

    @staticmethod
    def takes(answer: StoredAnswer) -> bool:
        """A tool call is made of what exactly was asked: it is no answer to anything else."""
        return not answer.calls and answer.reason is FinishReason.STOP


def quantised(vector: Sequence[float]) -> bytes:
    """Each component in a byte, relative to the largest: a quarter of FP32, as exact as needed."""
    most = max(map(abs, vector), default=0.0) or 1.0
    return array("b", [round(127 * value / most) for value in vector]).tobytes()


def cosine(one: bytes, other: bytes) -> float:
    """Of two vectors that were quantised; 0 where they can't be compared."""
    a, b = array("b", one), array("b", other)
    lengths = math.sqrt(sum(map(mul, a, a)) * sum(map(mul, b, b)))
    return sum(map(mul, a, b)) / lengths if lengths and len(a) == len(b) else 0.0
