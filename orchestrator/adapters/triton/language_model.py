"""Chat models that Triton serves behind the contract of NVIDIA's vLLM backend."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.adapters.triton import conversation
from orchestrator.adapters.triton.answer import Answer
from orchestrator.adapters.triton.connection import TritonConnection
from orchestrator.adapters.triton.wire import InferRequest, Outputs, flag, infer_request, texts
from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest, MalformedToolCall
from orchestrator.domain.errors import FleetError, InvalidInput
from orchestrator.domain.output_schema import held_to
from orchestrator.ports.models import LanguageModel
from orchestrator.tool_calls import format_named
from orchestrator.tool_calls.call_ids import numbered
from orchestrator.tool_calls.plain_text import PlainText
from orchestrator.tool_calls.writing import for_template

PROMPT_MODEL = "chat_prompt"

MIN_ROOM_TOKENS = 32
"""A prompt must leave room for as many new tokens, or for all that were asked for if fewer."""

END_GRACE_S = 0.5

_ASKED_FOR = ("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens")


@dataclass(frozen=True, slots=True)
class _Prompt:
    text: str
    tokens: int


class TritonLanguageModel(LanguageModel):
    """Each answer is two calls: `chat_prompt` renders the prompt, then the LLM streams.

    The LLM's call is a stream of its own, so that cancelling it cancels nothing else. Ids
    of tool calls are `call_1`, `call_2`, … in every answer.
    """

    def __init__(
        self,
        connection: TritonConnection,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._clock = clock

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        entry = self._entry(request.model)
        sent = [message.content for message in request.messages]
        began = self._clock()
        prompt = await self._render(entry, request, sent)
        max_tokens = _new_tokens(entry, request, prompt.tokens)
        prompted = first = self._clock()
        sampling = _sampling(entry, request, max_tokens)
        form = format_named(entry.tool_format)
        parser = PlainText() if request.output else form.parser(numbered())
        answer = Answer(entry.name, parser, request.meter, prompt_tokens=prompt.tokens)
        stream = self._connection.stream(
            _llm_request(entry.served_as, prompt.text, sampling, scored=request.confidence),
            sent=[*sent, prompt.text],
        )
        async with aclosing(stream):
            try:
                async for outputs in stream:
                    if first == prompted:
                        first = self._clock()
                    for piece in answer.feed(outputs):
                        yield piece
            except MalformedToolCall as malformed:
                # Such an answer mostly ends by itself just now: see TritonConnection.stream.
                await _exhaust(stream, answer)
                raise MalformedToolCall(malformed.detail, answer.usage, malformed.said) from None
        for piece in answer.close():
            yield piece
        yield ChatFinished(
            reason=answer.reason,
            usage=answer.usage,
            prompt_ms=(prompted - began) * 1000,
            ttft_ms=(first - prompted) * 1000,
            inference_ms=(self._clock() - prompted) * 1000,
            confidence=answer.confidence,
        )

    async def ready(self, model: str) -> bool:
        entry = self._catalogue.get(model)
        return (
            entry is not None
            and await self._connection.ready(entry.served_as)
            and await self._connection.ready(PROMPT_MODEL)
        )

    def _entry(self, model: str) -> ModelEntry:
        entry = self._catalogue.get(model)
        if entry is None:
            names = ", ".join(self._catalogue) or "empty"
            raise InvalidInput(
                f"model {model[:80]!r} is not in the catalogue, which is: {names}", field="model"
            )
        return entry

    async def _render(self, entry: ModelEntry, request: ChatRequest, sent: list[str]) -> _Prompt:
        messages = for_template(request.messages, format_named(entry.tool_format))
        inputs = {
            "MODEL": entry.served_as,
            "MESSAGES": conversation.messages_json(messages),
            "TOOLS": conversation.tools_json(request.tools),
        }
        tensors = [texts(name, [value], 1, 1) for name, value in inputs.items()]
        outputs = await self._connection.infer(infer_request(PROMPT_MODEL, tensors), sent=sent)
        return _Prompt(
            text=outputs.strings("PROMPT")[0].decode("utf-8", "replace"),
            tokens=outputs.counts("NUM_TOKENS")[0],
        )


def _new_tokens(entry: ModelEntry, request: ChatRequest, prompt_tokens: int) -> int:
    """Returns how many tokens the answer may have.

    Raises:
        InvalidInput: CONTEXT_LENGTH, with both counts in its metadata.
        Exhausted: BUDGET.
    """
    wanted = min(request.sampling.max_tokens or entry.max_new_tokens, entry.max_new_tokens)
    limit = entry.context_tokens - min(wanted, MIN_ROOM_TOKENS)
    if prompt_tokens > limit:
        error = InvalidInput(
            f"the prompt has {prompt_tokens} tokens; {entry.name} takes up to {limit} "
            f"of its {entry.context_tokens}",
            field="messages",
            reason="CONTEXT_LENGTH",
        )
        error.metadata |= {"prompt_tokens": str(prompt_tokens), "limit_tokens": str(limit)}
        raise error
    room = min(wanted, entry.context_tokens - prompt_tokens)
    return request.allowance.new_tokens(prompt_tokens, room)


def _sampling(entry: ModelEntry, request: ChatRequest, max_tokens: int) -> str:
    sampling, more = request.sampling, dict[str, Any]()
    if request.output is not None:
        sampling = sampling.model_copy(update={"stop": ()})  # one may be part of the JSON
    if request.output is not None and entry.constrains:
        schema = held_to(request.output, tokens=max_tokens)
        more = conversation.held_to_schema(schema, entry.structured_format)
    if request.output is None and request.tools and format_named(entry.tool_format).special_marks:
        more["skip_special_tokens"] = False
    if request.confidence:
        more["logprobs"] = 0  # without it vLLM adds nothing up; 0: of the chosen tokens alone
    return conversation.sampling_json(sampling, max_tokens=max_tokens, **more)


async def _exhaust(stream: AsyncGenerator[Outputs, None], answer: Answer) -> None:
    with suppress(TimeoutError, FleetError):
        async with asyncio.timeout(END_GRACE_S):
            async for outputs in stream:
                answer.count(outputs)


def _llm_request(model: str, prompt: str, sampling: str, *, scored: bool) -> InferRequest:
    asked = (*_ASKED_FOR, "return_cumulative_logprob") if scored else _ASKED_FOR
    return infer_request(
        model,
        [
            texts("text_input", [prompt], 1),
            texts("sampling_parameters", [sampling], 1),
            flag("stream", value=True),
            flag("exclude_input_in_output", value=True),
            *(flag(name, value=True) for name in asked),
        ],
        request_id=secrets.token_hex(8),
    )
