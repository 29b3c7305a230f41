"""The watch with a server that says what it is told to."""

import threading
from collections.abc import Callable, Iterator

import pytest

from backends.llm_serving.unload_watch import UnloadWatch

DEADLINE_S = 10.0


class Server:
    def __init__(self) -> None:
        self.answer: bool | Exception = False
        self.unloads = 0
        self._then: bool | None = None
        self._asked = 0
        self._changed = threading.Condition()

    def is_ready(self) -> bool:
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            if isinstance(self.answer, Exception):
                raise self.answer
            answer = self.answer
            if self._then is not None:
                self.answer, self._then = self._then, None
            return answer

    def unload(self) -> None:
        with self._changed:
            self.unloads += 1
            self._changed.notify_all()

    def becomes(self, answer: bool | Exception) -> None:
        """Returns when two questions have had this answer."""
        with self._changed:
            self.answer = answer
            until = self._asked + 2
            assert self._changed.wait_for(
                lambda: self._asked >= until or bool(self.unloads), DEADLINE_S
            )

    def answers_once(self, answer: bool, *, then: bool) -> None:
        with self._changed:
            self.answer, self._then = answer, then

    def wait(self, until: Callable[["Server"], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: until(self), DEADLINE_S)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    watch = UnloadWatch(server.is_ready, server.unload, every_s=0.001)
    yield server
    watch.close()


def test_a_model_that_is_ready_no_longer_is_unloaded_once(server: Server) -> None:
    server.becomes(True)
    server.becomes(False)
    assert server.wait(lambda one: one.unloads == 1)


def test_a_model_that_is_not_ready_yet_or_a_server_that_does_not_say_is_no_unload(
    server: Server,
) -> None:
    server.becomes(False)
    server.becomes(True)
    server.becomes(RuntimeError("the server is stopping"))
    server.becomes(True)
    assert server.unloads == 0


def test_one_unready_answer_is_no_unload(server: Server) -> None:
    server.becomes(True)
    server.answers_once(False, then=True)
    server.becomes(True)
    assert server.unloads == 0
