"""What a model wrote, on a terminal and in a file."""

from __future__ import annotations

import pytest

from orchestrator.cli.render import EventPrinter, on_screen
from orchestrator.rpc.pb.fleet.v1 import runs_pb2

EVIL = "a\x1b]52;c;aGk=\x07b\x1b[2J\u202ec\r\n"


def shown(payload: str, *, terminal: bool) -> None:
    EventPrinter(terminal=terminal).show(
        runs_pb2.RunEvent(text_delta=runs_pb2.TextDelta(text=payload))
    )


def test_an_answer_can_not_draw_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown(EVIL, terminal=True)
    said = capsys.readouterr().out
    assert said == "a\\x1b]52;c;aGk=\\x07b\\x1b[2J\\u202ec\\r\n"


@pytest.mark.parametrize("text", ["Zählt\tauf:\n1\u00a0€", "👩\u200d🌾", "क\u094d\u200dष"])
def test_an_answer_in_any_language_is_shown_as_it_is(text: str) -> None:
    assert on_screen(text, terminal=True) == text


def test_where_there_is_no_terminal_an_answer_stays_as_it_is() -> None:
    assert on_screen(EVIL, terminal=False) == EVIL


def test_a_cached_answer_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    cached = runs_pb2.AnswerCached(model="llm_small", kind=runs_pb2.AnswerCached.KIND_SHARED)
    EventPrinter(terminal=True).show(runs_pb2.RunEvent(answer_cached=cached))
    assert "llm_small was not asked: shared cache hit" in capsys.readouterr().err
