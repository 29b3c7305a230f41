"""The service with a scripted engine and a caller that only records."""

import functools
import threading
from collections.abc import Callable, Iterator

import pytest

from backends.llm_serving.engine import Listener, Load
from backends.llm_serving.errors import EngineFailed, InvalidRequest, RequestCancelled, Unavailable
from backends.llm_serving.metrics import Metrics
from backends.llm_serving.requests import Call, Limits
from backends.llm_serving.sampling import SamplingParams
from backends.llm_serving.scripted import RecordingCaller, RecordingRegistry, ScriptedEngine
from backends.llm_serving.service import LlmService, ServiceSettings

DEADLINE_S = 10.0


class QuietLog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)

    def error(self, message: str) -> None:
        self.lines.append(message)


class Stand:
    """A service with its surroundings."""

    def __init__(self, engine: ScriptedEngine, settings: ServiceSettings) -> None:
        self.engine = engine
        self.registry = RecordingRegistry()
        self.log = QuietLog()
        self.given_up: list[str] = []
        self.lost = threading.Event()
        metrics = Metrics(self.registry, {"model": "m"})
        self.service = LlmService(engine, metrics, settings, self.log, on_given_up=self._lose)
        self.service.start()

    def _lose(self, reason: str) -> None:
        self.given_up.append(reason)
        self.lost.set()

    def submit(
        self, prompt: str = "hello", *, stream: bool = False, name: str = ""
    ) -> RecordingCaller:
        caller = RecordingCaller()
        self.service.submit(Call(prompt, SamplingParams(), stream=stream, name=name), caller)
        return caller

    def wait_for_engine(self, until: Callable[[ScriptedEngine], bool]) -> None:
        with self.engine.changed:
            assert self.engine.changed.wait_for(lambda: until(self.engine), DEADLINE_S)

    def value_becomes(self, value: float, name: str, **labels: str) -> bool:
        ticks = threading.Event()
        for _ in range(1000):
            if self.registry.one(name, **labels).value == value:
                return True
            ticks.wait(DEADLINE_S / 1000)
        return False


Opened = Callable[..., Stand]


@pytest.fixture
def opened() -> Iterator[Opened]:
    stands: list[Stand] = []

    def make(engine: ScriptedEngine | None = None, **settings: object) -> Stand:
        chosen = ServiceSettings(**{"drain_timeout_s": 0.01, **settings})  # type: ignore[arg-type]
        stands.append(Stand(engine or ScriptedEngine(), chosen))
        return stands[-1]

    yield make
    for stand in stands:
        stand.service.close()


def test_pieces_reach_their_caller_in_order_and_end_with_the_final_one(opened: Opened) -> None:
    stand = opened()
    one, other = stand.submit(stream=True), stand.submit(stream=True)
    for word in ("a", "b", "c"):
        stand.engine.say(1, word)
    stand.engine.say(2, "z", reason="length")
    stand.engine.say(1, "d", reason="stop")
    assert one.wait(lambda caller: caller.ended)
    assert other.wait(lambda caller: caller.ended)
    assert (one.text, other.text) == ("abcd", "z")
    assert [reply.final for reply in one.replies] == [False, False, False, True]


def test_a_request_the_engine_dislikes_fails_alone(opened: Opened) -> None:
    stand = opened(ScriptedEngine(dislikes="bad"))
    bad, good = stand.submit("bad"), stand.submit("good")
    assert bad.wait(lambda caller: caller.ended)
    assert isinstance(bad.errors[0], InvalidRequest)
    assert list(stand.engine.submitted) == [2]
    stand.engine.say(2, "fine", reason="stop")
    assert good.wait(lambda caller: caller.ended)


@pytest.mark.parametrize(("callers_fault", "kind"), [(True, InvalidRequest), (False, Unavailable)])
def test_a_refusal_of_the_engine_reaches_its_caller(
    opened: Opened, callers_fault: bool, kind: type[Exception]
) -> None:
    stand = opened()
    caller = stand.submit()
    stand.engine.refuse(1, "too long", callers_fault=callers_fault)
    assert caller.wait(lambda one: one.ended)
    assert type(caller.errors[0]) is kind
    assert str(caller.errors[0]) == "too long"


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_goes_away_is_taken_out_of_the_engine(opened: Opened, stream: bool) -> None:
    stand = opened()
    gone, staying = stand.submit(stream=stream), stand.submit(stream=stream)
    gone.cancelled = True
    stand.wait_for_engine(lambda engine: engine.cancelled == [1])
    assert gone.wait(lambda caller: caller.ended)
    assert isinstance(gone.errors[0], RequestCancelled)
    stand.engine.say(1, "too late", reason="stop")
    stand.engine.say(2, "fine", reason="stop")
    assert staying.wait(lambda caller: caller.ended)
    assert gone.replies == []
    assert stand.value_becomes(1, "fleet_llm_requests_finished_total", reason="cancelled")


def test_a_hint_is_for_the_newest_call_of_its_name_and_cancels_nothing(opened: Opened) -> None:
    stand = opened()
    for name in ("one", "two", "one", ""):
        stand.submit(name=name)
    for name in ("one", "two", "three", ""):
        stand.service.hint(name)
    stand.engine.say(3, "fine", reason="stop")
    stand.service.hint("one")
    gone = stand.submit(name="one")
    gone.cancelled = True
    stand.service.hint("one")
    stand.wait_for_engine(lambda engine: engine.cancelled == [5])
    assert stand.value_becomes(1, "fleet_llm_requests_finished_total", reason="cancelled")


def test_the_engines_death_fails_those_who_wait_and_a_new_one_serves(opened: Opened) -> None:
    stand = opened()
    waiting = [stand.submit(), stand.submit(stream=True)]
    stand.engine.die()
    for caller in waiting:
        assert caller.wait(lambda one: one.ended)
        assert isinstance(caller.errors[0], EngineFailed)
    stand.wait_for_engine(lambda engine: engine.starts == 2)
    assert stand.value_becomes(1, "fleet_llm_engine_up")
    late = stand.submit()
    stand.engine.say(3, "back", reason="stop")
    assert late.wait(lambda one: one.ended)
    assert late.text == "back"
    assert stand.value_becomes(1, "fleet_llm_engine_deaths_total")


def test_an_engine_that_cannot_be_brought_back_is_given_up_and_refuses(opened: Opened) -> None:
    stand = opened(ScriptedEngine(failing_starts=99), engine_restarts=2)
    stand.engine.die()
    assert stand.lost.wait(DEADLINE_S)
    assert stand.engine.starts == 3
    caller = stand.submit()
    assert caller.wait(lambda one: one.ended)
    assert isinstance(caller.errors[0], Unavailable)
    assert stand.value_becomes(0, "fleet_llm_engine_up")


def _started(times: int, engine: ScriptedEngine) -> bool:
    return engine.starts == times


def test_an_answer_between_two_deaths_begins_the_count_anew(opened: Opened) -> None:
    stand = opened(engine_restarts=1)
    for round_ in (1, 2, 3):
        stand.engine.die()
        stand.wait_for_engine(functools.partial(_started, round_ + 1))
        assert stand.value_becomes(1, "fleet_llm_engine_up")
        caller = stand.submit()
        stand.engine.say(round_, "x", reason="stop")
        assert caller.wait(lambda one: one.ended)
    assert stand.given_up == []


def test_one_request_too_many_is_refused_at_once(opened: Opened) -> None:
    stand = opened(limits=Limits(max_requests=1))
    stand.submit()
    second = stand.submit()
    assert second.wait(lambda caller: caller.ended)
    assert "1 are already in" in str(second.errors[0])


def test_closing_lets_what_runs_end(opened: Opened) -> None:
    stand = opened(drain_timeout_s=DEADLINE_S)
    caller = stand.submit()
    closing = threading.Thread(target=stand.service.close)
    closing.start()
    stand.engine.say(1, "done", reason="stop")
    closing.join(DEADLINE_S)
    assert not closing.is_alive()
    assert caller.text == "done"
    assert stand.engine.closed


def test_closing_cuts_off_what_does_not_end_in_time(opened: Opened) -> None:
    stand = opened(drain_timeout_s=0.0)
    caller = stand.submit()
    stand.service.close()
    assert isinstance(caller.errors[0], Unavailable)


def test_retiring_ends_the_engine_fails_what_is_left_and_refuses_what_comes(
    opened: Opened,
) -> None:
    stand = opened(drain_timeout_s=0.0)
    caller = stand.submit()
    stand.service.retire()
    assert stand.engine.closed
    assert caller.wait(lambda one: one.ended)
    assert "unloaded before the answer was complete" in str(caller.errors[0])
    late = stand.submit()
    assert late.wait(lambda one: one.ended)
    assert "is being unloaded" in str(late.errors[0])
    assert stand.value_becomes(0, "fleet_llm_engine_up")


def test_an_engine_that_dies_while_the_service_drains_holds_nobody_up(opened: Opened) -> None:
    stand = opened(drain_timeout_s=10 * DEADLINE_S)
    caller = stand.submit()
    closing = threading.Thread(target=stand.service.close)
    closing.start()
    while not (refused := stand.submit()).wait(lambda one: one.ended, 0.01):
        stand.engine.say(max(stand.engine.submitted), "x", reason="stop")
    assert "is being unloaded" in str(refused.errors[0])
    stand.engine.die()
    closing.join(DEADLINE_S)
    assert not closing.is_alive()
    assert isinstance(caller.errors[0], EngineFailed)


class StartingForEver(ScriptedEngine):
    """A second start ends only with the engine."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def start(self, listener: Listener) -> None:
        super().start(listener)
        if self.starts > 1:
            assert self.ended.wait(DEADLINE_S)
            raise EngineFailed("it was closed")

    def close(self) -> None:
        super().close()
        self.ended.set()


def test_closing_while_the_engine_is_started_again_waits_for_no_start_and_gives_nothing_up(
    opened: Opened,
) -> None:
    engine = StartingForEver()
    stand = opened(engine)
    engine.die()
    stand.wait_for_engine(lambda one: one.starts == 2)
    closing = threading.Thread(target=stand.service.close)
    closing.start()
    closing.join(DEADLINE_S / 2)
    assert not closing.is_alive()
    assert (engine.starts, stand.given_up) == (2, [])


def test_metrics_tell_what_happened(opened: Opened) -> None:
    stand = opened()
    caller = stand.submit(stream=True)
    stand.engine.load(Load(1, 2, 0.5, 7))
    assert stand.value_becomes(1, "fleet_llm_requests_running")
    assert stand.value_becomes(2, "fleet_llm_requests_waiting")
    assert stand.value_becomes(0.5, "fleet_llm_kv_cache_usage_ratio")
    assert stand.value_becomes(7, "fleet_llm_engine_steps_total")
    stand.engine.say(1, "a")
    stand.engine.say(1, "bc", tokens=2, reason="length")
    assert caller.wait(lambda one: one.ended)
    assert stand.value_becomes(3, "fleet_llm_prompt_tokens_total")
    assert stand.value_becomes(3, "fleet_llm_generation_tokens_total")
    assert stand.value_becomes(1, "fleet_llm_requests_finished_total", reason="length")
    for name in ("time_to_first_token", "time_per_output_token", "e2e_request_latency"):
        assert len(stand.registry.one(f"fleet_llm_{name}_seconds").observed) == 1


def test_a_broken_way_back_to_one_caller_leaves_the_others_alone(opened: Opened) -> None:
    class Broken(RecordingCaller):
        def reply(self, reply: object) -> None:
            raise OSError("gone")

    stand = opened()
    stand.service.submit(Call("x", SamplingParams()), Broken())
    good = stand.submit()
    stand.engine.say(1, "a", reason="stop")
    stand.engine.say(2, "b", reason="stop")
    assert good.wait(lambda caller: caller.ended)
    assert stand.log.lines == ["a reply was not sent: gone"]
