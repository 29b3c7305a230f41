"""The engine's loop over a scripted pipeline."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from backends.llm_serving.coalescing import Coalescing
from backends.llm_serving.engine import Chunk, EngineRequest, Refusal
from backends.llm_serving.sampling import SamplingParams
from backends.llm_serving.trace import Event, Trace
from backends.llm_serving.wire import Cancel, Message
from backends.openvino_genai.detokenizer import TableDetokenizer
from backends.openvino_genai.loop import Loop
from backends.openvino_genai.scripted import EOS, ScriptedChannel, ScriptedPipeline

TABLE = [b"", *(bytes([i]) for i in range(1, 256))]
EVERY_FOUR = Coalescing(max_tokens=4, max_delay_ms=60_000.0, messages_per_s=1e9)


def request(
    number: int, prompt: str = "hi", *, stream: bool = False, **params: object
) -> EngineRequest:
    chosen = SamplingParams(**{"max_tokens": 10, **params})  # type: ignore[arg-type]
    return EngineRequest(number, prompt, chosen, stream)


def ran(
    *batches: Sequence[Message],
    answer: str = "abcdefghij",
    pipeline: ScriptedPipeline | None = None,
    table: Sequence[bytes] = TABLE,
) -> ScriptedChannel:
    made = pipeline or ScriptedPipeline(lambda _: list(answer.encode()))
    channel = ScriptedChannel(*batches)
    Loop(made, channel, TableDetokenizer(list(table), frozenset({EOS})), EVERY_FOUR).run()
    return channel


def chunks(channel: ScriptedChannel, number: int) -> list[Chunk]:
    return [
        chunk for report in channel.reports for chunk in report.chunks if chunk.request_id == number
    ]


def texts(channel: ScriptedChannel, number: int) -> list[str]:
    return [chunk.pieces[0].text for chunk in chunks(channel, number)]


def refusals(channel: ScriptedChannel) -> list[Refusal]:
    return [refusal for report in channel.reports for refusal in report.refusals]


def test_a_whole_answer_comes_in_one_piece_and_is_read_once() -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"abcdefghij"))
    channel = ran([request(1)], pipeline=pipeline)
    [chunk] = chunks(channel, 1)
    assert chunk.pieces[0].text == "abcdefghij"
    assert (chunk.pieces[0].tokens, chunk.pieces[0].finish_reason) == (10, "length")
    assert (chunk.final, chunk.prompt_tokens) == (True, 2)
    assert pipeline.generations[1].reads == 1


def test_a_stream_sends_its_first_token_at_once_and_then_some_at_a_time() -> None:
    channel = ran([request(1, stream=True)])
    assert texts(channel, 1) == ["a", "bcde", "fghi", "j"]
    assert [chunk.final for chunk in chunks(channel, 1)] == [False, False, False, True]
    assert sum(chunk.pieces[0].tokens for chunk in chunks(channel, 1)) == 10


def test_a_character_is_never_sent_in_halves() -> None:
    channel = ran([request(1, stream=True, max_tokens=6)], answer="€€")
    assert texts(channel, 1) == ["€", "€"]


def test_the_end_of_text_ends_a_request_and_is_counted_but_not_shown() -> None:
    channel = ran([request(1)], answer="ab\0cd")
    [chunk] = chunks(channel, 1)
    assert (chunk.pieces[0].text, chunk.pieces[0].tokens) == ("ab", 3)
    assert chunk.pieces[0].finish_reason == "stop"


@pytest.mark.parametrize("logprobs", [None, 0])
@pytest.mark.parametrize(("kept", "text"), [(False, "ab"), (True, "ab<end>")])
def test_the_end_of_text_stays_out_when_special_tokens_are_shown(
    logprobs: int | None, kept: bool, text: str
) -> None:
    shown = request(
        1, skip_special_tokens=False, include_stop_str_in_output=kept, logprobs=logprobs
    )
    channel = ran([shown], answer="ab\0cd", table=[b"<end>", *TABLE[1:]])
    [chunk] = chunks(channel, 1)
    assert (chunk.pieces[0].text, chunk.pieces[0].tokens) == (text, 3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_a_request_before_it_is_sent(stream: bool) -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"abcdefghij"))
    channel = ran([request(1, stream=stream, stop=("def",))], pipeline=pipeline)
    assert "".join(texts(channel, 1)) == "abc"
    last = chunks(channel, 1)[-1]
    assert (last.final, last.pieces[0].finish_reason) == (True, "stop")
    assert pipeline.generations[1].cancelled
    assert pipeline.steps == 6


def test_a_stop_string_counts_only_after_the_least_tokens() -> None:
    channel = ran([request(1, stop=("b",), min_tokens=3, max_tokens=6)], answer="abcabc")
    assert texts(channel, 1) == ["abca"]


def test_what_looked_like_a_stop_string_arrives_at_the_end() -> None:
    channel = ran([request(1, stop=("ijk",))])
    assert texts(channel, 1) == ["abcdefghij"]


def test_prompts_that_arrive_together_are_encoded_together() -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"ab"))
    ran([request(1), request(2), request(3)], [request(4)], pipeline=pipeline)
    assert pipeline.encoded == [3, 1]


def test_a_request_joins_others_that_are_running() -> None:
    channel = ran([request(1, max_tokens=3)], [request(2, max_tokens=3)])
    ends = [
        number
        for number, report in enumerate(channel.reports)
        for chunk in report.chunks
        if chunk.final
    ]
    assert len(ends) == 2
    assert ends[1] - ends[0] == 1


def test_a_prompt_as_long_as_the_context_is_refused_alone() -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"ab"), context_tokens=5)
    channel = ran([request(1, "12345"), request(2, "1234")], pipeline=pipeline)
    [refusal] = refusals(channel)
    assert refusal.request_id == 1
    assert refusal.callers_fault
    assert "5 tokens" in refusal.message
    assert chunks(channel, 2)[0].pieces[0].tokens == 1


def test_a_prompt_without_a_token_is_refused() -> None:
    [refusal] = refusals(ran([request(1, "")]))
    assert "no token" in refusal.message


def test_a_cancelled_request_leaves_before_the_next_step() -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"abcdefghij"))
    channel = ran([request(1), request(2)], [], [Cancel(1)], [], pipeline=pipeline)
    assert chunks(channel, 1) == []
    assert len(chunks(channel, 2)) == 1
    assert pipeline.generations[1].status().value == "running"


def test_a_request_cancelled_in_the_batch_it_came_in_never_starts() -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"ab"))
    ran([request(1), Cancel(1), Cancel(99)], pipeline=pipeline)
    assert pipeline.generations == {}


def test_a_full_cache_fails_the_request_and_blames_nobody() -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"abcdef"))
    channel = ScriptedChannel([request(1)], [])
    loop = Loop(pipeline, channel, TableDetokenizer(TABLE, frozenset()), EVERY_FOUR)
    add = pipeline.add

    def lose(*args: object, **kwargs: object) -> object:
        generation = add(*args, **kwargs)  # type: ignore[arg-type]
        pipeline.generations[1].lost = True
        return generation

    pipeline.add = lose  # type: ignore[method-assign,assignment]
    pipeline.busy = lambda: pipeline.steps < 1  # type: ignore[method-assign]
    loop.run()
    [refusal] = refusals(channel)
    assert not refusal.callers_fault
    assert "KV cache" in refusal.message


def test_the_load_is_told_and_is_nothing_at_the_end() -> None:
    channel = ran([request(1, stream=True), request(2, stream=True)])
    loads = [report.load for report in channel.reports]
    assert loads[0].running == 2
    assert (loads[-1].running, loads[-1].waiting) == (0, 0)
    assert loads[-1].steps == 10


def test_a_broken_step_ends_the_loop() -> None:
    pipeline = ScriptedPipeline(lambda _: list(b"abcdef"))
    pipeline.breaks_at_step = 3
    with pytest.raises(RuntimeError, match="breaks"):
        ran([request(1)], pipeline=pipeline)


def test_log_probabilities_come_token_by_token() -> None:
    channel = ran([request(1, stream=True, logprobs=0, max_tokens=3)], answer="xyz")
    found = [one for chunk in chunks(channel, 1) for [one] in chunk.pieces[0].logprobs or ()]
    assert [(one.token_id, one.logprob, one.text) for one in found] == [
        (ord("x"), -1.0, "x"),
        (ord("y"), -1.0, "y"),
        (ord("z"), -1.0, "z"),
    ]
    assert chunks(channel, 1)[-1].pieces[0].cumulative_logprob == -3.0


def test_a_cancelled_request_is_out_of_the_load_before_the_next_step() -> None:
    channel = ran([request(1), request(2)], [], [Cancel(1)], [])
    told = [(report.load.running, report.load.steps) for report in channel.reports]
    assert told.index((1, 2)) == 1


def test_a_traced_loop_writes_a_line_for_each_step(tmp_path: Path) -> None:
    pipeline = ScriptedPipeline(lambda _: [*b"abcd", EOS])
    channel = ScriptedChannel([request(1)])
    trace = Trace(str(tmp_path / "trace"))
    detokenizer = TableDetokenizer(TABLE, frozenset({EOS}))

    Loop(pipeline, channel, detokenizer, EVERY_FOUR, trace).run()

    events = [Event.parse(line) for line in (tmp_path / "trace").read_text().splitlines()]
    assert [(event.name, event.value) for event in events] == [("step", n + 1) for n in range(5)]
    assert [event.at_ns for event in events] == sorted(event.at_ns for event in events)
