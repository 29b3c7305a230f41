"""Classification and embedding of texts by Triton's models."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from orchestrator.adapters.triton.connection import TritonConnection
from orchestrator.adapters.triton.replicas import TritonReplicas
from orchestrator.adapters.triton.wire import Outputs, infer_request
from orchestrator.adapters.triton.wire import texts as text_tensor
from orchestrator.domain.errors import Internal, InvalidInput
from orchestrator.domain.routing import Classification
from orchestrator.ports.models import Embedder, RequestClassifier

ROUTER = "agent_router"
EMBEDDER = "embedder"

# More classes than any head has: Triton returns as many as there are, best first.
_ALL_CLASSES = 1024
_HEADS = dict.fromkeys(("TASK", "COMPLEXITY", "RISK"), _ALL_CLASSES)
# An ensemble of Triton 24.10 fails ("unexpected deadlock") unless every output is asked for.
_ROUTED = {"EMBEDDING": 0, **_HEADS}


class TritonRouter(RequestClassifier, Embedder):
    """Texts are the rows of a batch; there are as many requests as the model's batch size needs.

    Probabilities come by Triton's classification extension, each with its class's label: a
    head whose classes change their order or number is still read rightly.
    """

    def __init__(self, connection: TritonConnection | TritonReplicas) -> None:
        self._connection = connection
        self._batch_sizes: dict[str, int] = {}

    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        found: list[Classification] = []
        for response, rows in await self._infer(ROUTER, texts, _ROUTED):
            heads = (_labelled(response, head)[:rows] for head in _HEADS)
            found += map(Classification, *heads)
        return tuple(found)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        vectors: list[tuple[float, ...]] = []
        for response, rows in await self._infer(EMBEDDER, texts, {"EMBEDDING": 0}):
            vectors += response.float_rows("EMBEDDING")[:rows]
        return tuple(vectors)

    async def _infer(
        self, model: str, texts: Sequence[str], outputs: Mapping[str, int]
    ) -> list[tuple[Outputs, int]]:
        """Returns the responses, each with how many of its first rows were asked for."""
        for index, text in enumerate(texts):
            if not text.strip():
                raise InvalidInput(
                    f"texts[{index}] is empty; it must have at least one character that shows",
                    field=f"texts[{index}]",
                )
        rows = await self._batch_size(model) if len(texts) > 1 else 1
        responses: list[tuple[Outputs, int]] = []
        for start in range(0, len(texts), rows):
            batch = texts[start : start + rows]
            try:
                responses.append((await self._ask(model, batch, outputs), len(batch)))
            except InvalidInput:
                for place, text in enumerate(batch, start):
                    responses.append((await self._again(model, text, outputs, place), 1))
        return responses

    async def _ask(self, model: str, rows: Sequence[str], outputs: Mapping[str, int]) -> Outputs:
        """Raises InvalidInput, also for a refusal that Triton's response cache has kept."""
        request = infer_request(model, [text_tensor("TEXT", rows, len(rows), 1)], outputs)
        response = await self._connection.infer(request, sent=rows)
        if not all(name in response for name in outputs):
            raise InvalidInput(f"model {model} refused the request before")
        return response

    async def _again(
        self, model: str, text: str, outputs: Mapping[str, int], place: int
    ) -> Outputs:
        """Asks for one text beside a row that no cache has seen.

        Triton 24.10 caches the response of a request that failed, without its error: the same
        text is then answered with no outputs, or fails in the ensemble's next step, also when
        the failure was of that one moment.
        """
        if await self._batch_size(model) < 2:
            raise InvalidInput(f"model {model} refused it, now or before", field=f"texts[{place}]")
        try:
            return await self._ask(model, [text, secrets.token_hex(8)], outputs)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=f"texts[{place}]") from None

    async def _batch_size(self, model: str) -> int:
        if model not in self._batch_sizes:
            self._batch_sizes[model] = max(1, await self._connection.max_batch_size(model))
        return self._batch_sizes[model]


def _labelled(outputs: Outputs, head: str) -> list[Mapping[str, float]]:
    """Returns each row's probabilities by label, best first.

    Raises:
        Internal: the model has no labels.
    """
    return [dict(_label(entry, head) for entry in row) for row in outputs.string_rows(head)]


def _label(entry: bytes, head: str) -> tuple[str, float]:
    """Reads Triton's `value:index:label`."""
    value, *rest = entry.decode("utf-8", "replace").split(":", 2)
    if len(rest) < 2:
        raise Internal(f"output {head} of {ROUTER} has no labels: its model needs a label_filename")
    return rest[1], float(value)
