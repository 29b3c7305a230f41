"""The backend behind a real Triton, with the small model of the repository."""

import asyncio
import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from tests.backends.llm_client import ALL_OUTPUTS, Heard, LlmClient

PROMPT = "<|im_start|>user\nHow do you do?<|im_end|>\n<|im_start|>assistant\n"
LONG = {"temperature": 1, "seed": 11, "max_tokens": 40, "ignore_eos": True}
ENDLESS = {"max_tokens": None, "ignore_eos": True}
DEADLINE_S = 60.0


@pytest_asyncio.fixture
async def llm(triton: Any) -> AsyncIterator[LlmClient]:
    client = LlmClient(triton.grpc_url)
    yield client
    await client.close()


async def fetch(url: str, body: bytes | None = None) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, body, timeout=DEADLINE_S) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def metric(triton: Any, name: str, **labels: str) -> float:
    for line in (await fetch(triton.metrics_url)).splitlines():
        wanted = {"model": "llm_small", **labels}
        if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in wanted.items()):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {name}")


async def becomes(value: float, triton: Any, name: str, **labels: str) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if await metric(triton, name, **labels) == value:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_whole_answer_begins_with_the_prompt_unless_excluded(llm: LlmClient) -> None:
    whole = await llm.ask(PROMPT, LONG)
    bare = await llm.ask(PROMPT, LONG, exclude_input_in_output=True)
    assert len(whole.outputs) == 1
    assert whole.text == PROMPT + bare.text
    assert bare.text


async def test_a_streams_pieces_are_the_whole_answer(llm: LlmClient) -> None:
    whole = await llm.ask(PROMPT, LONG, exclude_input_in_output=True, **ALL_OUTPUTS)
    parts = await llm.ask(PROMPT, LONG, stream=True, **ALL_OUTPUTS)
    assert parts.text == whole.text
    assert len(parts.texts) > 2
    assert parts.total("num_output_tokens") == whole.total("num_output_tokens") == 40
    assert parts.outputs[0]["num_input_tokens"] == whole.outputs[0]["num_input_tokens"]
    assert {one["finish_reason"][0] for one in parts.outputs[:-1]} == {b"None"}
    assert parts.reason == whole.reason == "length"


async def test_the_defaults_are_those_of_vllm(llm: LlmClient) -> None:
    heard = await llm.ask(PROMPT, {"ignore_eos": True}, **ALL_OUTPUTS)
    assert heard.total("num_output_tokens") == 16
    assert heard.outputs[0]["logprobs"] == [b"null"]


async def test_only_what_is_asked_for_is_returned(llm: LlmClient) -> None:
    assert list((await llm.ask(PROMPT)).outputs[0]) == ["text_output"]
    heard = await llm.ask(PROMPT, return_num_input_tokens=True)
    assert list(heard.outputs[0]) == ["text_output", "num_input_tokens"]


async def test_log_probabilities_are_those_of_the_chosen_tokens(llm: LlmClient) -> None:
    sampling = {"temperature": 0, "max_tokens": 5, "logprobs": 1, "ignore_eos": True}
    heard = await llm.ask(PROMPT, sampling, exclude_input_in_output=True, **ALL_OUTPUTS)
    tokens = json.loads(heard.outputs[0]["logprobs"][0])
    logprobs = [value["logprob"] for token in tokens for value in token.values()]
    assert len(tokens) == 5
    assert all(one <= 0 for one in logprobs)
    assert any(one < 0 for one in logprobs)
    assert heard.outputs[0]["cumulative_logprob"][0] == pytest.approx(sum(logprobs), rel=1e-4)


async def test_a_seed_makes_an_answer_repeatable_and_none_does_not(llm: LlmClient) -> None:
    hot = {"temperature": 2, "max_tokens": 40, "ignore_eos": True}
    seeded = [await llm.ask(PROMPT, {**hot, "seed": 5}) for _ in range(2)]
    free = [await llm.ask(PROMPT, hot) for _ in range(2)]
    assert seeded[0].text == seeded[1].text
    assert free[0].text != free[1].text


async def test_several_sequences_come_in_one_response(llm: LlmClient) -> None:
    heard = await llm.ask(PROMPT, {**LONG, "n": 3}, **ALL_OUTPUTS)
    assert [len(values) for values in heard.outputs[0].values()] == [3, 3, 3, 3, 1, 3]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_string_cuts_the_answer_where_it_begins(llm: LlmClient, stream: bool) -> None:
    full = (await llm.ask(PROMPT, LONG, exclude_input_in_output=True)).text
    stop = full[10:13]
    cut = full[: full.index(stop)]
    flags = {"stream": True} if stream else {"exclude_input_in_output": True}
    heard = await llm.ask(PROMPT, {**LONG, "stop": stop}, **flags, return_finish_reason=True)
    assert (heard.text, heard.reason) == (cut, "stop")
    kept = {**LONG, "stop": stop, "include_stop_str_in_output": True}
    assert (await llm.ask(PROMPT, kept, **flags)).text == cut + stop


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": -20, "maximum": 130}}},
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 5},
            "kind": {"enum": ["x", 'quo"te', 3, None]},
            "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
            "id": {"type": "string", "pattern": "^[A-F0-9]{4}-[a-z]{1,4}x$"},
        },
        "required": ["name", "kind"],
    },
    {
        "$defs": {"leaf": {"type": ["null", "integer"]}},
        "type": "array",
        "prefixItems": [{"$ref": "#/$defs/leaf"}, {"anyOf": [{"const": "é\n"}, {"type": "null"}]}],
        "items": False,
    },
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"enum": ["größe", "é1", "\x7fa", "日本b"]},
    {"type": "string", "pattern": "^é[äa0]{6}ßa$"},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
async def test_an_answer_keeps_to_its_json_schema(llm: LlmClient, schema: dict[str, Any]) -> None:
    finished = 0
    for seed in range(6):
        sampling = {
            "structured_outputs": {"json": schema},
            "temperature": 1.5,
            "seed": seed,
            "max_tokens": 400,
        }
        heard = await llm.ask(PROMPT, sampling, exclude_input_in_output=True, **ALL_OUTPUTS)
        assert not heard.error
        if heard.reason == "stop":
            finished += 1
            jsonschema.validate(json.loads(heard.text), schema)
    assert finished >= 4


async def test_an_answer_is_one_of_the_choices(llm: LlmClient) -> None:
    choices = ["yes", "no", 'say "no\n"\\']
    heard = [
        await llm.ask(
            PROMPT,
            {"guided_choice": choices, "seed": seed, "max_tokens": 100},
            exclude_input_in_output=True,
        )
        for seed in range(8)
    ]
    assert {one.text for one in heard} <= set(choices)


async def test_an_answer_matches_its_regex(llm: LlmClient) -> None:
    pattern = r'(ab|[0-9]{2,3}-)+\.x?"[^a-z\]]{2}\t'
    heard = [
        await llm.ask(
            PROMPT,
            {"guided_regex": pattern, "seed": seed, "max_tokens": 200},
            exclude_input_in_output=True,
            return_finish_reason=True,
        )
        for seed in range(5)
    ]
    finished = [one.text for one in heard if one.reason == "stop"]
    assert finished
    assert all(re.fullmatch(pattern, text) for text in finished)


BAD: list[tuple[str | bytes, str | bytes, str]] = [
    (PROMPT, '{"temperature": "hot"}', "'temperature' must be a number of at least 0, not \"hot\""),
    (PROMPT, '{"logit_bias": {"1": 2}}', "does not honour 'logit_bias'"),
    (PROMPT, '{"guided_json": {"type": "nope"}}', "type must be one or more of"),
    (PROMPT, '{"guided_grammar": "root ::= foo"}', "not as grammar"),
    (PROMPT, '{"logprobs": 5}', "'logprobs' must be 0 here"),
    (PROMPT, b"\xff", "sampling_parameters: not valid UTF-8 at byte 0"),
    ("", "{}", "text_input: must not be empty"),
    (b"\xfe", "{}", "text_input: not valid UTF-8 at byte 0"),
    ("hello " * 5000, "{}", "must have at least 1 and at most"),
]


def server_log(triton: Any) -> str:
    return Path(triton.log).read_text(encoding="utf-8", errors="replace")


async def test_bad_input_fails_alone_with_a_sentence(llm: LlmClient, triton: Any) -> None:
    running = asyncio.create_task(llm.ask(PROMPT, {**LONG, "max_tokens": 300}, stream=True))
    heard = await asyncio.gather(*(llm.ask(prompt, text) for prompt, text, _ in BAD))
    for (_, _, message), one in zip(BAD, heard, strict=True):
        assert message in one.error
        assert one.outputs == []
    assert (await running).error == ""
    assert "How do you do?" not in server_log(triton)


async def test_a_stream_cannot_begin_with_the_prompt(llm: LlmClient) -> None:
    heard = await llm.ask(PROMPT, stream=True, exclude_input_in_output=False)
    assert "exclude_input_in_output" in heard.error


async def test_a_cancelled_stream_leaves_the_engine(llm: LlmClient, triton: Any) -> None:
    before = await metric(triton, "fleet_llm_requests_finished_total", reason="cancelled")
    listening = llm.listen(PROMPT, ENDLESS, stream=True)
    await anext(listening)
    assert await becomes(1, triton, "fleet_llm_requests_running")
    await listening.aclose()  # type: ignore[attr-defined]
    await llm.close()
    assert await becomes(0, triton, "fleet_llm_requests_running")
    assert await becomes(
        before + 1, triton, "fleet_llm_requests_finished_total", reason="cancelled"
    )


async def test_a_hint_gets_no_answer_and_stops_no_call_that_is_still_wanted(triton: Any) -> None:
    caller = LlmClient(triton.grpc_url, request_id="mine")
    hinting = LlmClient(triton.grpc_url, parameters={"cancelled_request_id": "mine"})
    listening = caller.listen(PROMPT, ENDLESS, stream=True, return_finish_reason=True)
    heard = Heard([(await anext(listening))[0]])
    hint = await hinting.ask("")
    assert (hint.error, hint.outputs) == ("", [])
    async for outputs, error in listening:
        assert not error
        heard.outputs.append(outputs)
    assert heard.reason == "length"
    await caller.close()
    await hinting.close()


async def test_many_that_come_and_go_leave_the_server_answering(triton: Any) -> None:
    async def come_and_go(number: int) -> Heard | None:
        client = LlmClient(triton.grpc_url)
        try:
            if number % 2:
                return await client.ask(PROMPT, {"max_tokens": 1 + number % 7}, stream=True)
            listening = client.listen(PROMPT, {"max_tokens": 60}, stream=True)
            await anext(listening)
            return None
        finally:
            await client.close()

    for _ in range(3):
        heard = await asyncio.gather(*(come_and_go(number) for number in range(40)))
        assert all(one is None or not one.error for one in heard)
    assert await becomes(0, triton, "fleet_llm_requests_running")


async def test_http_callers_may_put_parameters_beside_the_text(triton: Any) -> None:
    body = {"text_input": PROMPT, "max_tokens": 3, "ignore_eos": True, "stream": False}
    answer = await fetch(
        f"{triton.http_url}/v2/models/llm_small/generate", json.dumps(body).encode()
    )
    assert json.loads(answer)["text_output"].startswith(PROMPT)


def command(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().decode()
    except OSError:
        return ""


def parent(pid: int) -> int:
    try:
        status = (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return 0
    return int(re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]


def engine_pids(grpc_url: str) -> list[int]:
    """Engines of llm_small whose stub belongs to the server on this port."""
    port = grpc_url.rsplit(":", 1)[1]
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    engines = [pid for pid in pids if "openvino_genai.engine_process" in command(pid)]
    return [
        pid
        for pid in engines
        if "/llm_small/" in command(pid)
        and f"--grpc-port\0{port}\0" in command(parent(parent(pid)))
    ]


async def test_a_killed_engine_fails_who_waits_and_comes_back(llm: LlmClient, triton: Any) -> None:
    deaths = await metric(triton, "fleet_llm_engine_deaths_total")
    waiting = asyncio.create_task(llm.ask(PROMPT, ENDLESS))
    assert await becomes(1, triton, "fleet_llm_requests_running")
    [pid] = engine_pids(triton.grpc_url)
    os.kill(pid, signal.SIGKILL)
    assert "the engine died while it worked on this request" in (await waiting).error
    assert await becomes(deaths + 1, triton, "fleet_llm_engine_deaths_total")
    assert await becomes(1, triton, "fleet_llm_engine_up")
    assert (await llm.ask(PROMPT, LONG)).text.startswith(PROMPT)
