"""A repair by the small model as it is served."""

from __future__ import annotations

from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel
from orchestrator.domain.agents import AgentSpec, Sampling
from orchestrator.domain.catalogue import ToolCallFormat
from orchestrator.domain.events import StepRestarted
from orchestrator.domain.runs import RunState
from orchestrator.settings import embedded_catalogue
from tests.conftest import RunningTriton
from tests.orchestrator.worker.given import working

SMALL = {"llm_small": embedded_catalogue()["llm_small"]}
# A stop string that cuts the call off, as a model does that forgets to end one.
CUT = Sampling(stop=('", "arguments"',))


async def test_a_call_that_was_cut_off_is_asked_for_once_more(triton: RunningTriton) -> None:
    spec = AgentSpec(
        system_prompt="You are a helpful support desk assistant.",
        tools=("calculator",),
        sampling=CUT,
    )
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, SMALL)
        async with working(model, catalogue=SMALL) as fleet:
            run = await fleet.start("What is 437 * 12?", spec=spec)
            events = await fleet.events(run)
            ended = await fleet.now(run)
    (restart,) = [e.payload for e in events if isinstance(e.payload, StepRestarted)]
    assert restart.reason.startswith("MALFORMED_TOOL_CALL: the answer ended inside a tool call")
    if ended.state is RunState.FAILED:
        assert ended.error is not None
        assert ended.error.reason == "MALFORMED_TOOL_CALL"
    else:
        assert ended.result


async def test_a_format_with_special_tokens_shows_no_end_of_turn(triton: RunningTriton) -> None:
    shown = SMALL["llm_small"].model_copy(update={"tool_format": ToolCallFormat.LLAMA3_JSON})
    catalogue = {shown.name: shown}
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, catalogue)
        async with working(model, catalogue=catalogue) as fleet:
            spec = AgentSpec(tools=("calculator",))
            ended = await fleet.ended(await fleet.start("Hello", spec=spec))
    assert ended.state is RunState.COMPLETED
    assert ended.result
    assert "<|im_end|>" not in ended.result
