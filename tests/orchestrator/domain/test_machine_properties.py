"""The run's state machine under any order of events, with the store's part played here."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.agents import Budget
from orchestrator.domain.errors import FailedPrecondition, FleetError, Internal, InvalidInput
from orchestrator.domain.events import Finished, Interrupted, Payload, StateChanged
from orchestrator.domain.interrupts import (
    ANSWERS,
    Answer,
    Answered,
    Approved,
    Denied,
    InterruptKind,
)
from orchestrator.domain.machine import (
    CancelRequested,
    Event,
    Failed,
    InferenceFinished,
    InterruptExpired,
    Resumed,
    Submitted,
    SubRunOpened,
    ToolFinished,
    ToolOutcomeUnknown,
    Transition,
    advance,
)
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.runs import (
    ModelCall,
    PendingCall,
    Run,
    RunError,
    RunState,
    StepRecord,
    Usage,
)
from orchestrator.domain.work import WorkItem, WorkKind

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]

texts = st.text(max_size=6)
call_ids = st.one_of(st.sampled_from(["c0", "c1", ":", ""]), texts)
calls = st.builds(ToolCall, call_id=call_ids, name=texts, arguments_json=texts)
parallel_calls = st.lists(calls, max_size=4, unique_by=lambda call: call.call_id)
usages = st.builds(
    Usage,
    prompt_tokens=st.integers(0, 50),
    completion_tokens=st.integers(0, 50),
    cost_micros=st.integers(0, 50),
)
budgets = st.builds(
    Budget,
    max_steps=st.sampled_from([0, 1, 2, 3]),
    max_tokens=st.sampled_from([0, 0, 60, 200]),
    max_cost_micros=st.sampled_from([0, 0, 60]),
)
answers: st.SearchStrategy[Answer] = st.one_of(
    st.just(Approved()),
    st.builds(Denied, reason=texts),
    st.builds(Answered, content=texts, ok=st.booleans()),
)
ttls = st.sampled_from([0, 1, 60_000])


class Play:
    """One run, its open items, its session's messages and its events, as a store keeps them."""

    def __init__(self, draw: Draw[object], budget: Budget) -> None:
        self.draw: Callable[..., object] = draw
        self.run = Run(
            run_id="run_00_a",
            tenant="acme",
            session_id="ses_00_a",
            agent="assistant@1",
            input="hi",
            budget=budget,
        )
        self.items: dict[str, WorkItem] = {}
        self.parked: dict[str, str] = {}
        self.messages: list[Message] = []
        self.events: list[Payload] = []
        self.answered: set[str] = set()
        self.children = 0
        self.apply(advance(self.run, Submitted()))
        self.run = self.run.model_copy(update={"state": RunState.RUNNING})  # the first claim
        self.events.append(StateChanged(state=RunState.RUNNING))

    def apply(self, moved: Transition, item: WorkItem | None = None) -> None:
        """Writes a transition: the outcome of an item, or one that belongs to none."""
        if item:
            del self.items[item.key]
            if moved.parked_on:
                self.items[item.key] = item
                self.parked[item.key] = moved.parked_on
        for key in moved.drop:
            self.items.pop(key, None)
            self.parked.pop(key, None)
        for following in moved.enqueue:
            self.items[following.key] = following
            self.parked.pop(following.key, None)
        self.messages += moved.messages
        self.events += moved.events
        self.run = moved.run
        if moved.run.state.terminal:
            self.items.clear()
            self.parked.clear()

    def go_on(self) -> None:
        """Something happens that may happen: an item's outcome, an answer, an end."""
        waiting = [p for p in self.run.pending if p.interrupt]
        what = self.pick(["work"] * 6 + (["answer"] * 3 if waiting else []) + ["end"])
        if what == "end":
            self.apply(advance(self.run, self.pick(_ENDS)))
        elif what == "answer":
            self.answer(self.pick(waiting))
        else:
            self.work(self.pick(sorted(self.items.values(), key=lambda item: item.key)))

    def pick(self, options: list[T]) -> T:
        return self.some(st.sampled_from(options))

    def some(self, strategy: st.SearchStrategy[T]) -> T:
        return self.draw(strategy)  # type: ignore[return-value]

    def work(self, item: WorkItem) -> None:
        if item.kind is WorkKind.REASON:
            return self.apply(advance(self.run, self.inference()), item)
        pending = next(p for p in self.run.pending if p.call == item.call)
        self.parked.pop(item.key, None)
        self.apply(advance(self.run, self.outcome(pending)), item)
        return None

    def inference(self) -> InferenceFinished:
        called = tuple(self.some(parallel_calls))
        gated = [call.call_id for call in called if self.some(st.booleans())]
        return InferenceFinished(
            text=self.some(texts),
            tool_calls=called,
            record=StepRecord(
                step=self.run.step,
                attempt=1,
                model="m",
                finish_reason="stop",
                calls=(ModelCall(model="m", usage=self.some(usages)),),
            ),
            gates={call_id: self.pick(list(InterruptKind)) for call_id in gated},
            interrupt_ttl_ms=self.some(ttls),
        )

    def outcome(self, pending: PendingCall) -> Event:
        call_id = pending.call.call_id
        if pending.interrupt:  # its item was delayed for as long as somebody could answer
            return InterruptExpired(call_id)
        how = self.pick(["finished", "finished", "unknown", "opened"])
        if how == "unknown":
            return ToolOutcomeUnknown(call_id, "cut off", self.some(ttls))
        if how == "opened" and not pending.child_run_id:
            self.children += 1
            return SubRunOpened(call_id, f"run_00_child{self.children}", "expert@1")
        handover = self.pick(["", "", "expert@2"])
        return ToolFinished(
            call_id,
            self.some(st.booleans()),
            self.some(texts),
            1.0,
            usage=self.some(usages),
            handover=handover,
        )

    def answer(self, pending: PendingCall) -> None:
        assert pending.interrupt is not None
        interrupt_id, answer = pending.interrupt.interrupt_id, self.some(answers)
        if not isinstance(answer, ANSWERS[pending.interrupt.kind]):
            with pytest.raises(InvalidInput):
                advance(self.run, Resumed(interrupt_id, answer))
            return
        assert interrupt_id not in self.answered
        self.answered.add(interrupt_id)
        self.apply(advance(self.run, Resumed(interrupt_id, answer)))

    def check(self) -> None:
        _state_says_what_is_awaited(self.run)
        _somebody_brings_it_on(self)
        _events_tell_the_state(self.events, self.run)
        _every_call_has_one_answer_in_order(self.messages, self.run)
        _budget_is_kept(self)
        _answers_count_once(self)


_ENDS: list[Event] = [
    CancelRequested(),
    Failed(RunError(reason="DEADLINE", message="too late"), dead_letter=True),
]


def _state_says_what_is_awaited(run: Run) -> None:
    awaits = [p for p in run.pending if p.interrupt]
    assert (run.state is RunState.INTERRUPTED) == bool(awaits)
    still_open = [p for p in run.pending if p.content is None]
    assert bool(still_open) == (run.state in (RunState.INTERRUPTED, RunState.WAITING_FOR_TOOLS))
    assert all(p.content is None for p in awaits)


def _somebody_brings_it_on(play: Play) -> None:
    """Each thing that is open has one item, so that no run is forgotten."""
    run = play.run
    expected = {p.call.call_id for p in run.pending if p.content is None}
    if run.state.terminal:
        assert not play.items
    elif run.state is RunState.RUNNING:
        assert [i.kind for i in play.items.values()] == [WorkKind.REASON]
        assert [i.step for i in play.items.values()] == [run.step]
    else:
        assert {i.call.call_id for i in play.items.values() if i.call} == expected
        assert len(play.items) == len(expected)
        assert {i.step for i in play.items.values()} == {run.step}
    for pending in run.pending:
        if pending.interrupt:
            item = next(i for i in play.items.values() if i.call == pending.call)
            assert item.delay_ms == pending.interrupt.ttl_ms
            assert item.key not in play.parked


def _events_tell_the_state(events: list[Payload], run: Run) -> None:
    told = [e.state for e in events if isinstance(e, StateChanged | Finished)]
    assert told[-1] is run.state
    assert all(a is not b for a, b in pairwise(told))
    ends = [e for e in events if isinstance(e, Finished)]
    assert len(ends) == (1 if run.state.terminal else 0)
    assert not ends or events[-1] is ends[0]


def _every_call_has_one_answer_in_order(messages: list[Message], run: Run) -> None:
    """What models insist on: after calls come their results, one each, before anything else."""
    owed: list[str] = []
    for message in messages:
        if message.role is Role.TOOL:
            assert message.tool_call_id == owed.pop(0)
        else:
            assert not owed
            owed = [call.call_id for call in message.tool_calls]
    assert owed == [p.call.call_id for p in run.pending]


def _budget_is_kept(play: Play) -> None:
    run, budget = play.run, play.run.budget
    if any(item.kind is WorkKind.REASON for item in play.items.values()):
        assert not budget.max_steps or run.step <= budget.max_steps
        if run.step > 1:
            assert not budget.max_tokens or run.usage.tokens < budget.max_tokens
            assert not budget.max_cost_micros or run.usage.cost_micros < budget.max_cost_micros


def _answers_count_once(play: Play) -> None:
    asked = [e.interrupt_id for e in play.events if isinstance(e, Interrupted)]
    assert len(set(asked)) == len(asked)
    if play.run.state.terminal:
        return
    still_asked = {p.interrupt.interrupt_id for p in play.run.pending if p.interrupt}
    assert still_asked.isdisjoint(play.answered)
    for interrupt_id in sorted(set(asked) - still_asked):
        with pytest.raises(FailedPrecondition) as caught:
            advance(play.run, Resumed(interrupt_id, Denied()))
        assert caught.value.reason == "INTERRUPT_NOT_PENDING"


anything = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@anything
@given(data=st.data(), budget=budgets)
def test_whatever_happens_a_run_stays_whole_and_ends_once(
    data: st.DataObject, budget: Budget
) -> None:
    play = Play(data.draw, budget)
    play.check()
    for _ in range(25):
        before = play.run
        play.go_on()
        play.check()
        assert play.run.usage.tokens >= before.usage.tokens
        assert play.run.step in (before.step, before.step + 1)
        if play.run.state.terminal:
            break
    else:
        play.apply(advance(play.run, CancelRequested()))
        play.check()
    for event in (Submitted(), CancelRequested(), Resumed("int_x", Approved())):
        with pytest.raises(FailedPrecondition) as caught:
            advance(play.run, event)
        assert caught.value.reason == "RUN_TERMINAL"


events = st.one_of(
    st.just(Submitted()),
    st.builds(ToolFinished, call_ids, st.booleans(), texts, st.just(1.0)),
    st.builds(SubRunOpened, call_ids, st.just("run_00_x"), st.just("expert@1")),
    st.builds(ToolOutcomeUnknown, call_ids, texts, ttls),
    st.builds(Resumed, texts, answers),
    st.builds(InterruptExpired, call_ids),
)


@anything
@given(data=st.data(), event=events)
def test_an_event_that_does_not_fit_is_refused_and_never_breaks_the_run(
    data: st.DataObject, event: Event
) -> None:
    play = Play(data.draw, Budget())
    for _ in range(data.draw(st.integers(0, 5))):
        if not play.run.state.terminal:
            play.go_on()
    awaited = {p.call.call_id for p in play.run.pending if p.content is None}
    fits = getattr(event, "call_id", None) in awaited
    if fits or isinstance(event, Submitted):
        return
    with pytest.raises(FleetError) as caught:
        advance(play.run, event)
    assert isinstance(caught.value, Internal | FailedPrecondition)


@given(st.lists(st.sampled_from(["unknown", "approve"]), max_size=12))
def test_every_question_about_a_call_has_an_id_of_its_own(steps: list[str]) -> None:
    call = ToolCall(call_id="c0", name="pay", arguments_json='{"to": "me"}')
    record = StepRecord(step=1, attempt=1, model="m", finish_reason="stop")
    run = Run(run_id="r", tenant="t", session_id="s", agent="a@1", input="x")
    run = advance(run, InferenceFinished("", (call,), record)).run
    seen: list[str] = []
    for _ in steps:
        run = advance(run, ToolOutcomeUnknown("c0", "cut off", 1)).run
        interrupt = run.pending[0].interrupt
        assert interrupt is not None
        seen.append(interrupt.interrupt_id)
        run = advance(run, Resumed(interrupt.interrupt_id, Approved())).run
    assert len(set(seen)) == len(seen)


def test_an_interrupts_id_stands_for_the_exact_arguments() -> None:
    def asked(arguments: str) -> str:
        call = ToolCall(call_id="c0", name="pay", arguments_json=arguments)
        record = StepRecord(step=1, attempt=1, model="m", finish_reason="stop")
        run = Run(run_id="r", tenant="t", session_id="s", agent="a@1", input="x")
        gates = {"c0": InterruptKind.APPROVAL}
        moved = advance(run, InferenceFinished("", (call,), record, gates, 1))
        interrupt = moved.run.pending[0].interrupt
        assert interrupt is not None
        return interrupt.interrupt_id

    assert asked('{"amount": 1}') == asked('{"amount": 1}')
    assert asked('{"amount": 1}') != asked('{"amount": 2}')
