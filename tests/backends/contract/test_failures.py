"""Bad input, callers that leave, and engines that die."""

import asyncio
import os
import re
import signal
from pathlib import Path

from backends.llm_serving.metrics import COUNTERS, FINISHED, GAUGES, HISTOGRAMS
from tests.backends.contract.conftest import MODEL, Served
from tests.backends.contract.metrics_page import DEADLINE_S, becomes, fetch, metric, names
from tests.backends.contract.prompts import ENDLESS, LONG, PROMPT
from tests.backends.llm_client import Heard, LlmClient

Bad = tuple[str | bytes, str | bytes, str]
BAD: list[Bad] = [
    (PROMPT, '{"temperature": "hot"}', "'temperature' must be a number of at least 0, not \"hot\""),
    (PROMPT, '{"temprature": 1}', "unknown name 'temprature'; known are"),
    (PROMPT, '{"guided_json": {"type": "nope"}}', "nope"),
    (PROMPT, '{"guided_regex": "(("}', "(("),
    (PROMPT, '{"lora_name": "none"}', "lora_name"),
    (PROMPT, b"\xff", "sampling_parameters: not valid UTF-8 at byte 0"),
    ("", "{}", "text_input: must not be empty"),
    (b"\xfe", "{}", "text_input: not valid UTF-8 at byte 0"),
]
BAD_FOR_ONE: dict[str, list[Bad]] = {
    "openvino_genai": [
        (PROMPT, '{"logit_bias": {"1": 2}}', "does not honour 'logit_bias'"),
        (PROMPT, '{"guided_grammar": "root ::= foo"}', "not as grammar"),
        (PROMPT, '{"logprobs": 5}', "'logprobs' must be 0 here"),
        ("hello " * 5000, "{}", "must have at least 1 and at most"),
    ],
    "vllm": [
        (PROMPT, '{"logit_bias": {"one": 2}}', "'logit_bias'"),
        (PROMPT, '{"logit_bias": {"999999": 2}}', "999999"),
        (PROMPT, '{"allowed_token_ids": "all"}', "'allowed_token_ids'"),
        (PROMPT, '{"guided_grammar": "root ::= foo"}', "the engine refuses this request"),
        (PROMPT, '{"logprobs": 500}', "greater than max allowed"),
        ("hello " * 5000, "{}", "maximum"),
    ],
}


def server_log(served: Served) -> str:
    return Path(served.triton.log).read_text(encoding="utf-8", errors="replace")


async def test_bad_input_fails_alone_with_a_sentence(llm: LlmClient, served: Served) -> None:
    bad = BAD + BAD_FOR_ONE[served.engine]
    running = asyncio.create_task(llm.ask(PROMPT, {**LONG, "max_tokens": 300}, stream=True))
    heard = await asyncio.gather(*(llm.ask(prompt, text) for prompt, text, _ in bad))
    for (_, _, message), one in zip(bad, heard, strict=True):
        assert message in one.error
        assert one.outputs == []
    assert (await running).error == ""
    assert "How do you do?" not in server_log(served)


async def test_a_stream_cannot_begin_with_the_prompt(llm: LlmClient) -> None:
    heard = await llm.ask(PROMPT, stream=True, exclude_input_in_output=False)
    assert "exclude_input_in_output" in heard.error


async def test_a_cancelled_stream_leaves_the_engine(llm: LlmClient, served: Served) -> None:
    triton = served.triton
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


async def test_a_hint_gets_no_answer_and_stops_no_call_that_is_still_wanted(served: Served) -> None:
    caller = LlmClient(served.triton.grpc_url, request_id="mine")
    hinting = LlmClient(served.triton.grpc_url, parameters={"cancelled_request_id": "mine"})
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


async def test_many_that_come_and_go_leave_the_server_answering(served: Served) -> None:
    async def come_and_go(number: int) -> Heard | None:
        client = LlmClient(served.triton.grpc_url)
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
    assert await becomes(0, served.triton, "fleet_llm_requests_running")


async def test_after_many_cancels_at_once_the_engine_runs_nothing(served: Served) -> None:
    triton = served.triton

    async def leave_midway(client: LlmClient) -> None:
        listening = client.listen(PROMPT, ENDLESS, stream=True)
        await anext(listening)
        await listening.aclose()  # type: ignore[attr-defined]

    clients = [LlmClient(triton.grpc_url) for _ in range(4)]
    await asyncio.gather(*(leave_midway(clients[number % 4]) for number in range(100)))
    for client in clients:
        await client.close()
    assert await becomes(0, triton, "fleet_llm_requests_running")
    assert await becomes(0, triton, "fleet_llm_requests_waiting")


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


VICTIMS = {
    "openvino_genai": ["openvino_genai.engine_process"],
    "vllm": ["VLLM::EngineCore", "vllm.engine_process"],
}


def pids(name: str, grpc_url: str) -> list[int]:
    """Processes of the model with the name, below the stub of the server on this port."""
    port = grpc_url.rsplit(":", 1)[1]
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if name in command(pid) and _is_below(pid, port)]


def _is_below(pid: int, port: str) -> bool:
    """Several models' engines may run below one server."""
    ours = False
    while pid := parent(pid):
        ours = ours or f"/{MODEL}/" in command(pid)
        if f"--grpc-port\0{port}\0" in command(pid):
            return ours
    return False


async def test_an_unload_lets_a_stream_end_refuses_what_comes_later_and_ends_the_engine(
    served: Served,
) -> None:
    triton, client = served.triton, LlmClient(served.triton.grpc_url)
    # Shorter than the drain on a slow machine too.
    sampling = {**ENDLESS, "max_tokens": 1000}
    listening = client.listen(PROMPT, sampling, stream=True, return_finish_reason=True)
    heard = Heard([(await anext(listening))[0]])
    unload = asyncio.create_task(
        fetch(f"{triton.http_url}/v2/repository/models/{MODEL}/unload", b"{}")
    )
    while not (late := await client.ask(PROMPT, {"max_tokens": 1})).error:
        pass
    assert "no available versions" in late.error or "is being unloaded" in late.error
    async for outputs, error in listening:
        assert not error
        heard.outputs.append(outputs)
    assert heard.reason == "length"
    await unload
    async with asyncio.timeout(DEADLINE_S):
        while any(pids(name, triton.grpc_url) for name in VICTIMS[served.engine]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await fetch(f"{triton.http_url}/v2/repository/models/{MODEL}/load", b"{}")
    assert (await client.ask(PROMPT, LONG)).text.startswith(PROMPT)
    await client.close()


async def _ask_until_it_fails(client: LlmClient) -> str:
    while not (heard := await client.ask(PROMPT, ENDLESS)).error:
        pass
    return heard.error


async def test_a_killed_engine_fails_who_waits_and_comes_back(
    llm: LlmClient, served: Served
) -> None:
    triton = served.triton
    for name in VICTIMS[served.engine]:
        deaths = await metric(triton, "fleet_llm_engine_deaths_total")
        waiting = asyncio.gather(*(_ask_until_it_fails(llm) for _ in range(4)))
        assert await becomes(4, triton, "fleet_llm_requests_running")
        found = pids(name, triton.grpc_url)
        assert found
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        assert "the engine died while it worked on this request" in await waiting
        assert await becomes(0, triton, "fleet_llm_engine_up")
        refused = await llm.ask(PROMPT, LONG)
        assert "is being started again" in refused.error
        assert await becomes(deaths + 1, triton, "fleet_llm_engine_deaths_total")
        assert await becomes(1, triton, "fleet_llm_engine_up")
        assert (await llm.ask(PROMPT, LONG)).text.startswith(PROMPT)


async def test_the_metrics_have_the_same_names_whatever_the_engine(served: Served) -> None:
    assert await names(served.triton) == {*COUNTERS, *GAUGES, *HISTOGRAMS, FINISHED}
