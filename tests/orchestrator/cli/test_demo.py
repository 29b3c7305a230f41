"""The conversation of `fleet demo`, with a model that plays its part."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.cli.demo import converse
from orchestrator.cli.demo_turns import REFUSAL, TURNS, Call, Told, Turn, judge
from orchestrator.client import FleetClient
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.messages import Message, Role
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from tests.orchestrator.rpc.given import serving_over
from tests.orchestrator.worker.given import Script, call, working

TOOLS = ("calculator", "current_time", "lookup", "convert_units")
SUM = call("calculator", '{"expression": "12 + 30"}')
PRICE = call("lookup", '{"key": "P05"}')
CALLS = {
    "What is 437 * 12?": call("calculator", '{"expression": "437 * 12"}'),
    "And twice that?": call("calculator", '{"expression": "5244 * 2"}'),
    "Where is my order A1042?": call("lookup", '{"key": "A1042"}'),
    "What time is it in Paris?": call("current_time", '{"timezone": "Europe/Paris"}'),
    "How many miles are 5 kilometers?": call(
        "convert_units", '{"amount": 5, "from": "kilometers", "to": "miles"}'
    ),
    "What is 12 + 30 and how much is P05?": SUM + PRICE,
}
SAYS = {"Hello!": "Hi.", "Write me a poem.": REFUSAL, "Thank you!": "You are welcome."}


def well(request: ChatRequest) -> Sequence[str]:
    """Calls what the question needs, then reads the results out."""
    asked = max(i for i, message in enumerate(request.messages) if message.role is Role.USER)
    question, since = request.messages[asked].content, request.messages[asked + 1 :]
    if question in SAYS:
        return [SAYS[question]]
    results = [message.content for message in since if message.role is Role.TOOL]
    return [f"It is {' and '.join(results)}."] if results else [CALLS[question]]


def one_by_one(request: ChatRequest) -> Sequence[str]:
    """As `well`, but for the question that asks for two things at once."""
    last = request.messages[-1]
    if last.content == TURNS[6].question:
        return [SUM]
    if _answers(last, "42"):
        return [PRICE]
    return well(request)


def miscounting(request: ChatRequest) -> Sequence[str]:
    if _answers(request.messages[-1], "10488"):
        return ["That is 10487."]
    return well(request)


def refusing(request: ChatRequest) -> Sequence[str]:
    return [REFUSAL] if request.messages[-1].content == TURNS[5].question else well(request)


def _answers(message: Message, result: str) -> bool:
    return message.role is Role.TOOL and message.content == result


async def held(model: Script) -> bool:
    async with (
        open_memory_state() as state,
        serving_over(state) as api,
        working(model, state=state),
        FleetClient.open(f"127.0.0.1:{api.server.port}") as client,
    ):
        await state.agents.put("default", "assistant", AgentSpec(tools=TOOLS))
        return await converse(client)


async def test_a_model_that_does_all_of_it_well_is_told_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await held(well)
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == (
        "9 of 9 answers were right: 4 different tools, 1 parallel call, 1 refusal"
    )
    rows = {
        turn.question: line
        for turn in TURNS
        for line in shown.splitlines()
        if line.startswith(turn.question + "  ")
    }
    assert len(rows) == len(TURNS) >= 6
    assert "calculator + lookup" in rows["What is 12 + 30 and how much is P05?"]
    assert "  -  " in rows["Write me a poem."]


@pytest.mark.parametrize(
    ("model", "why", "what"),
    [
        (one_by_one, "expected the calls of ['calculator', 'lookup'] in one step", "0 parallel"),
        (miscounting, "expected '10488' in the answer", "1 parallel"),
        (refusing, "the model called []", "1 parallel"),
    ],
)
async def test_one_wrong_answer_is_shown_and_makes_the_demo_fail(
    model: Script, why: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not await held(model)
    shown = capsys.readouterr().out
    assert why in shown
    assert f"8 of 9 answers were right: {3 if model is refusing else 4} different tools" in shown
    assert f", {what} call" in shown.splitlines()[-1]
    assert shown.splitlines()[-1].endswith(", 1 refusal")


def told(
    answer: str,
    calls: Sequence[Call] = (),
    results: Sequence[str] = (),
    *,
    failures: Sequence[str] = (),
    state: runs_pb2.RunState.ValueType = runs_pb2.RUN_STATE_COMPLETED,
) -> Told:
    finished = runs_pb2.Finished(state=state, result=answer)
    return Told(list(calls), list(results), list(failures), 1, finished)


PLUS = Call("calculator", '{"expression": "12 + 30"}', 1)
READ = Call("lookup", '{"key": "P05"}', 1)
RECORD = '{"name": "keyboard", "price_usd": 235, "stock": 0}'
BOTH, POEM, TIME = TURNS[6], TURNS[7], TURNS[4]
CLOCK = Call("current_time", '{"timezone": "Europe/Paris"}', 1)
NOW = "2026-11-21 07:14 Saturday Europe/Paris"


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (BOTH, told("12 + 30 is 42, and P05 costs $235.00.", [PLUS, READ], ["42", RECORD])),
        (BOTH, told("The P05 is $235; the sum is 42.", [READ, PLUS], [RECORD, "42"])),
        (POEM, told(f"{REFUSAL} Ask me about an order.")),
        (TIME, told("It is 07:14 in Paris.", [CLOCK], [NOW])),
        (Turn("Big?", ("calculator",), ("1200000",)), told("1,200,000.", [PLUS], ["1200000"])),
    ],
)
def test_an_answer_is_right_that_says_what_the_tools_said(turn: Turn, said: Told) -> None:
    assert judge(turn, said) == ""


@pytest.mark.parametrize(
    ("turn", "said", "why"),
    [
        (BOTH, told("42 and 235", [PLUS], ["42"]), "the model called ['calculator']"),
        (BOTH, told("It is 42.", [PLUS, READ], ["42", RECORD]), "expected '235' in the answer"),
        (BOTH, told("420, 235", [PLUS, READ], ["42", RECORD]), "expected '42' in the answer"),
        (
            BOTH,
            told("42, 235 and 7 in stock", [PLUS, READ], ["42", RECORD]),
            "the answer says 7, which no tool said",
        ),
        (
            BOTH,
            told("42, 235", [PLUS, READ], ["42"], failures=["no record"]),
            "a tool failed: no record",
        ),
        (POEM, told("Roses are red."), "expected a refusal"),
        (POEM, told(REFUSAL, [PLUS], ["42"]), "expected the tools [], the model called"),
        (TIME, told("It is 07:41 in Paris.", [CLOCK], [NOW]), "expected '07:14' in the answer"),
        (TIME, told("", state=runs_pb2.RUN_STATE_FAILED), "the run did not complete"),
        (TURNS[0], told("Hello, you are number 3!"), "the answer says 3"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(turn: Turn, said: Told, why: str) -> None:
    assert why in judge(turn, said)


def test_an_answer_that_came_in_no_piece_was_not_streamed() -> None:
    said = told("Hi.")
    said.deltas = 0
    assert judge(TURNS[0], said) == "expected the answer to be streamed"
