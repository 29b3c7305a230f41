"""How often callers are asked whether they are still there."""

import threading
import time
import weakref
from collections.abc import Iterator, Mapping

import pytest

from backends.llm_serving.cancellation import MOST_SHARE, Cadence, CancelWatch, asking_share
from backends.llm_serving.responder import Responder
from backends.llm_serving.scripted import RecordingCaller

CALL_S = 60e-6


def settled(calls: int, step_s: float) -> float:
    cadence = Cadence()
    for _ in range(200):
        pause_s = cadence.pause_s(calls, calls * CALL_S, step_s)
    return pause_s


@pytest.mark.parametrize("calls", [1, 4, 16, 64, 256, 4096])
@pytest.mark.parametrize("step_s", [0.0, 0.0005, 0.03])
def test_asking_stays_within_its_share_of_a_cpu(calls: int, step_s: float) -> None:
    spent_s = calls * CALL_S
    assert spent_s / (spent_s + settled(calls, step_s)) <= asking_share(calls) * 1.01


@pytest.mark.parametrize("calls", [1, 4, 16, 32])
def test_few_callers_are_asked_twice_in_a_step(calls: int) -> None:
    assert calls * CALL_S + settled(calls, 0.04) == pytest.approx(0.02)


def test_many_callers_get_a_smaller_share_than_few() -> None:
    assert asking_share(1) == asking_share(16) == MOST_SHARE
    assert asking_share(64) == 0.125
    assert asking_share(256) == 0.0625


def test_a_slow_model_does_not_make_a_cancel_wait_for_half_its_step() -> None:
    assert settled(1, 10.0) < 0.05


def test_one_round_in_which_the_cpu_was_away_is_not_followed_by_a_long_pause() -> None:
    cadence = Cadence()
    before = cadence.pause_s(1, 1e-4, 0.0005)
    assert cadence.pause_s(1, 0.05, 0.0005) < 2 * before


class Questions:
    """Callers that note who was asked; a held one is not answered until `go_on`."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.held = threading.Event()
        self.go_on = threading.Event()
        self.told: list[int] = []
        self.all_told = threading.Event()
        self.callers: dict[int, AskedCaller] = {}

    def calls(self) -> Mapping[int, Responder]:
        return dict(self.callers)

    def on_cancelled(self, request_id: int) -> None:
        self.told.append(request_id)
        del self.callers[request_id]
        self.all_told.set()


class AskedCaller(RecordingCaller):
    def __init__(self, questions: Questions, number: int, answers: list[bool]) -> None:
        super().__init__()
        self._questions = questions
        self._number = number
        self._answers = answers
        self.holding = False

    def is_cancelled(self) -> bool:
        self._questions.asked.append(self._number)
        if self.holding:
            self.holding = False
            self._questions.held.set()
            assert self._questions.go_on.wait(10)
        return self._answers.pop(0) if self._answers else False


@pytest.fixture
def questions() -> Questions:
    return Questions()


@pytest.fixture
def watch(questions: Questions) -> Iterator[CancelWatch]:
    watch = CancelWatch(questions.calls, questions.on_cancelled, lambda: 10.0, suspect_s=10.0)
    yield watch
    questions.go_on.set()
    watch.close()


def begin_a_round(questions: Questions, watch: CancelWatch, *, last: list[bool]) -> AskedCaller:
    """Of four, the first of whom is being asked; returns the last."""
    callers = {n: AskedCaller(questions, n, last if n == 4 else []) for n in (1, 2, 3, 4)}
    callers[1].holding = True
    questions.callers.update(callers)
    watch.wake()
    assert questions.held.wait(10)
    return callers[4]


def test_a_call_said_to_be_cancelled_is_asked_next(
    questions: Questions, watch: CancelWatch
) -> None:
    watch.suspect(4, begin_a_round(questions, watch, last=[True]))
    questions.go_on.set()
    assert questions.all_told.wait(10)
    assert questions.asked[:2] == [1, 4]
    assert questions.told == [4]


def test_a_hint_that_comes_before_the_cancel_is_not_lost(
    questions: Questions, watch: CancelWatch
) -> None:
    watch.suspect(4, begin_a_round(questions, watch, last=[False, False, False, True]))
    questions.go_on.set()
    assert questions.all_told.wait(10)
    in_turn = questions.asked.count(2)
    assert questions.asked.count(4) > in_turn + 1


def test_a_hint_cancels_nobody_who_is_still_there(questions: Questions, watch: CancelWatch) -> None:
    watch.suspect(4, begin_a_round(questions, watch, last=[]))
    third = questions.callers[3]
    third._answers[:] = [False, False, False, True]
    questions.go_on.set()
    assert questions.all_told.wait(10)
    assert questions.told == [3]


def test_what_was_said_of_calls_that_have_ended_is_not_kept(
    questions: Questions, watch: CancelWatch
) -> None:
    last = weakref.ref(begin_a_round(questions, watch, last=[]))
    watch.suspect(4, questions.callers[4])
    questions.callers.clear()
    questions.go_on.set()
    give_up = time.monotonic() + 5
    while last() is not None and time.monotonic() < give_up:
        threading.Event().wait(0.01)
    assert last() is None
