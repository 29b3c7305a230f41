from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.events import (
    Finished,
    Payload,
    RunEvent,
    StateChanged,
    StepRestarted,
    TextDelta,
)
from orchestrator.domain.runs import RunState
from orchestrator.domain.snapshot import Progress, fold


def events(*payloads: tuple[int, Payload]) -> list[RunEvent]:
    """Numbered from 1; each payload comes with its step."""
    return [
        RunEvent(run_id="run_00_a", seq=i, step=step, attempt=1, time_ms=i * 10, payload=payload)
        for i, (step, payload) in enumerate(payloads, 1)
    ]


def say(text: str) -> TextDelta:
    return TextDelta(text=text)


PAYLOADS = st.one_of(
    st.text(max_size=3).map(say),
    st.just(StepRestarted(reason="x")),
    st.just(StateChanged(state=RunState.RUNNING)),
)
HISTORIES = st.lists(st.tuples(st.booleans(), PAYLOADS), max_size=30)


def numbered(history: list[tuple[bool, Payload]]) -> list[RunEvent]:
    """A history in which True begins a new step."""
    step, found = 1, []
    for begins, payload in history:
        step += begins
        found.append((step, payload))
    return events(*found)


def test_nothing_has_happened_before_the_first_event() -> None:
    assert fold(Progress(), []) == Progress(seq=0, text="", finished=False)


def test_text_is_that_of_the_current_step() -> None:
    progress = fold(Progress(), events((1, say("a")), (1, say("b")), (2, say("c"))))
    assert (progress.seq, progress.step, progress.text) == (3, 2, "c")


def test_a_restarted_steps_text_starts_over() -> None:
    restarted = StepRestarted(reason="lease expired")
    progress = fold(Progress(), events((1, say("a")), (1, restarted), (1, say("b"))))
    assert progress.text == "b"


def test_a_finished_runs_text_stays() -> None:
    done = Finished(state=RunState.COMPLETED, result="a")
    progress = fold(Progress(), events((1, say("a")), (1, done)))
    assert (progress.finished, progress.text, progress.time_ms) == (True, "a", 20)


@given(HISTORIES, st.integers(0, 30))
def test_folding_in_two_parts_is_folding_at_once(
    history: list[tuple[bool, Payload]], cut: int
) -> None:
    all_events = numbered(history)
    at_once = fold(Progress(), all_events)
    assert fold(fold(Progress(), all_events[:cut]), all_events[cut:]) == at_once


@given(HISTORIES)
def test_the_text_is_what_a_watcher_from_the_beginning_would_show(
    history: list[tuple[bool, Payload]],
) -> None:
    shown: dict[int, str] = {}
    for event in numbered(history):
        shown.setdefault(event.step, "")
        if isinstance(event.payload, StepRestarted):
            shown[event.step] = ""
        elif isinstance(event.payload, TextDelta):
            shown[event.step] += event.payload.text
    progress = fold(Progress(), numbered(history))
    assert progress.text == shown.get(progress.step, "")
