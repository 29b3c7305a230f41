"""Counting steps between lines of a model's trace."""

from backends.llm_serving.trace import Event
from scripts.llm_bench.cancel import PLAIN, Cancels, note_cancel
from scripts.llm_bench.measure import count_wrong

MS = 1_000_000


def at(ms: float, name: str, value: int = 0) -> Event:
    return Event(int(ms * MS), name, value)


def test_steps_that_end_between_the_cancel_and_the_gauge_are_counted() -> None:
    result = Cancels(streams=8)
    events = [
        *[at(101, "step"), at(103, "step"), at(104, "told"), at(105, "step")],
        *[at(105.2, "running", 8), at(105.5, "running", 7), at(107, "step")],
    ]

    assert note_cancel(result, events, 100 * MS)

    assert (result.from_client_steps, result.from_told_steps) == ([3], [1])
    assert (result.from_client_ms, result.until_told_ms) == ([5.5], [4.0])
    assert result.from_told_ms == [1.5]
    assert result.step_ms == 2.0


def test_a_gauge_that_has_not_fallen_is_waited_for() -> None:
    result = Cancels(streams=8)

    assert not note_cancel(result, [at(1, "told"), at(2, "running", 8)], 0)

    assert result.from_client_steps == []


def test_a_summary_gives_the_median_and_the_most() -> None:
    result = Cancels(
        1, PLAIN, 0.5, [1, 2, 9], [0.5, 1.0, 4.5], [0.2, 0.3, 3.0], [1, 1, 2], [0.3, 0.7, 1.5]
    )

    summary = result.summary()

    assert (summary["steps_from_client_p50"], summary["steps_from_client_most"]) == (2, 9)
    assert (summary["within_two_steps"], summary["cancels"]) == (2, 3)
    assert (summary["ms_until_told_p50"], summary["ms_from_told_p50"]) == (0.3, 0.7)


def test_an_answer_is_wrong_that_the_engine_gives_neither_in_a_batch_nor_alone() -> None:
    asked = []

    def alone(prompt: str) -> str:
        asked.append(prompt)
        return f"{prompt} alone"

    prompts = ["a", "b", "c"]
    expected = [f"{prompt} batched" for prompt in prompts]
    assert count_wrong(prompts, ["a batched", "b alone", "c lost"], expected, alone) == 1
    assert asked == ["b", "c"]
