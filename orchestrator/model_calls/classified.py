"""Classifications that were made before."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from orchestrator.domain.routing import Classification
from orchestrator.ports.models import RequestClassifier

MAX_TEXTS = 4096
TTL_S = 300.0


class CachedClassifier(RequestClassifier):
    """Keeps the classifications of the texts that were asked for last, and no text.

    What a text is classified as depends on nothing but the text and the router's models: heads
    that are trained anew count after `ttl_s` for texts that were seen before.
    """

    def __init__(
        self,
        inner: RequestClassifier,
        *,
        max_texts: int = MAX_TEXTS,
        ttl_s: float = TTL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._max_texts = max_texts
        self._ttl_s = ttl_s
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Classification]] = OrderedDict()

    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        found = {key: known for key in keys if (known := self._fresh(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            made = await self._inner.classify(tuple(missing.values()))
            for key, classification in zip(missing, made, strict=True):
                found[key] = classification
                self._keep(key, classification)
        return tuple(found[key] for key in keys)

    def _fresh(self, key: bytes) -> Classification | None:
        made_s, classification = self._known.get(key, (0.0, None))
        if classification is None:
            return None
        if self._clock() - made_s > self._ttl_s:
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return classification

    def _keep(self, key: bytes, classification: Classification) -> None:
        self._known[key] = (self._clock(), classification)
        self._known.move_to_end(key)
        while len(self._known) > self._max_texts:
            self._known.popitem(last=False)
