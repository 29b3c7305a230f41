"""Closing an engine whose process does not do its part."""

import sys
import threading
from pathlib import Path

import pytest

from backends.llm_serving import process_engine
from backends.llm_serving.engine import EngineRequest, Report
from backends.llm_serving.errors import EngineFailed, Unavailable
from backends.llm_serving.process_engine import ProcessEngine
from backends.llm_serving.sampling import SamplingParams

MODULE = "tests.backends.llm_serving.stubborn_engine"
DEADLINE_S = process_engine.STOP_TIMEOUT_S + 20.0


class Deaf:
    def report(self, report: Report) -> None:
        pass

    def died(self, reason: str) -> None:
        pass


class Caller(threading.Thread):
    """Hands in prompts until the engine takes no more."""

    def __init__(self, engine: ProcessEngine) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self.progress = threading.Semaphore(0)

    def run(self) -> None:
        request = EngineRequest(1, "x" * 10_000, SamplingParams(), stream=False)
        try:
            while True:
                self._engine.submit(request)
                self.progress.release()
        except Unavailable:
            pass


def closes(engine: ProcessEngine) -> bool:
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(DEADLINE_S)
    return not closing.is_alive()


def test_a_process_that_reads_nothing_holds_up_neither_the_end_nor_who_writes_to_it(
    tmp_path: Path,
) -> None:
    engine = ProcessEngine(MODULE, tmp_path, sys.executable)
    engine.start(Deaf())
    caller = Caller(engine)
    caller.start()
    while caller.progress.acquire(timeout=1):
        pass
    assert closes(engine)
    caller.join(DEADLINE_S)
    assert not caller.is_alive()


def test_a_process_that_is_still_starting_is_ended_and_no_other_starts(tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    engine = ProcessEngine(MODULE, tmp_path, sys.executable)
    failed: list[str] = []

    def start() -> None:
        with pytest.raises(EngineFailed) as error:
            engine.start(Deaf())
        failed.append(str(error.value))

    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    tick = threading.Event()
    while not (tmp_path / "began").exists() and starting.is_alive():
        tick.wait(0.01)
    assert closes(engine)
    starting.join(DEADLINE_S)
    assert failed == ["the engine did not start: its process ended before it was ready"]
    with pytest.raises(EngineFailed, match="it is being closed"):
        engine.start(Deaf())
