"""How runs and their events look on a terminal. Colours go away by themselves elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

import click
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from orchestrator.rpc.pb.fleet.v1 import agents_pb2, runs_pb2

_DRAWS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def one_line(message: Message) -> str:
    """JSON of the message on one line, with the names of the .proto file."""
    return MessageToJson(message, indent=None, preserving_proto_field_name=True)


def state_name(state: int) -> str:
    return runs_pb2.RunState.Name(state).removeprefix("RUN_STATE_").lower()  # type: ignore[arg-type]


def kind_name(kind: int) -> str:
    name = runs_pb2.InterruptKind.Name(kind)  # type: ignore[arg-type]
    return name.removeprefix("INTERRUPT_KIND_").lower().replace("_", " ")


def policy_name(policy: agents_pb2.ModelPolicy) -> str:
    """`cheapest that can`, `quality 2 latency 0.5`; with `, cascade` where there is one."""
    weights = [(field.name, value) for field, value in policy.weights.ListFields()]
    name = agents_pb2.ModelPolicy.Preference.Name(policy.preference)
    preference = name.removeprefix("PREFERENCE_").lower().replace("_", " ")
    said = " ".join(f"{name} {value:g}" for name, value in weights) or preference
    return f"{said}, cascade" if policy.cascade else said


def printable(text: str) -> str:
    """The text with what would move the cursor, or turn the writing round, made visible."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def on_screen(text: str, *, terminal: bool | None = None) -> str:
    """An answer as it is, but what would draw on a terminal made visible where there is one."""
    if not (sys.stdout.isatty() if terminal is None else terminal):
        return text
    return _DRAWS.sub(lambda found: printable(found[0]), text)


def shortened(text: str, chars: int = 60) -> str:
    """The text printable, cut to so many characters."""
    shown = printable(text)
    return shown if len(shown) <= chars else shown[: chars - 1] + "…"


def counted(count: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def dim(text: str) -> str:
    return click.style(text, dim=True)


class EventPrinter:
    """Prints events as they come: the answer to standard output, the rest to standard error.

    The result of a run with an output schema is printed as a whole, once it has been checked.
    """

    def __init__(self, *, terminal: bool | None = None) -> None:
        """`terminal`: whether standard output is one. Default: as it is."""
        self._terminal = terminal
        self._in_text = False
        self._whole = self._shown = False

    def show(self, event: runs_pb2.RunEvent) -> None:
        match event.WhichOneof("payload"):
            case "snapshot":
                self._snapshot(event.snapshot)
            case "route_decided":
                self._note(f"· {event.route_decided.model}: {event.route_decided.reason}")
            case "text_delta":
                self._text(event.text_delta.text)
            case "tool_call_requested":
                call = event.tool_call_requested.call
                self._note(f"→ {call.name} {printable(call.arguments_json)}", fg="cyan")
            case "tool_call_finished":
                done = event.tool_call_finished
                mark = "←" if done.ok else "✗"
                self._note(f"{mark} {printable(done.content)}", fg="cyan" if done.ok else "red")
            case "step_restarted":
                self._note(f"· the step starts over ({event.step_restarted.reason})", fg="yellow")
            case "answer_checked":
                checked = event.answer_checked
                if not checked.passed:
                    self._note(f"· {not_passed(checked)}", fg="yellow")
            case "answer_cached":
                self._note(f"· {from_cache(event.answer_cached)}")
            case "sub_run_started":
                started = event.sub_run_started
                self._note(f"· run {started.run_id} of {started.agent} is at it")
            case "interrupted":
                asked = event.interrupted
                what = f"{kind_name(asked.kind)} of {asked.call.name}"
                self._note(f"‖ waits for {what}: {asked.interrupt_id}", fg="yellow")
            case "finished":
                self._result(event.finished.result)
                self.close()

    def _snapshot(self, snapshot: runs_pb2.Snapshot) -> None:
        self._whole = bool(snapshot.run.output_schema_json)
        self._result(snapshot.run.result)
        if snapshot.text:
            self._text(snapshot.text)

    def _result(self, result: str) -> None:
        """A run that had ended shows its result in the snapshot, and maybe again at its end."""
        if self._whole and result and not self._shown:
            click.echo(on_screen(result, terminal=self._terminal))
            self._shown = True

    def _text(self, text: str) -> None:
        if self._whole:
            return
        click.echo(on_screen(text, terminal=self._terminal), nl=False)
        self._in_text = not text.endswith("\n")

    def close(self) -> None:
        """Ends the line that text was written to."""
        if self._in_text:
            click.echo()
            self._in_text = False

    def _note(self, text: str, fg: str | None = None) -> None:
        self.close()
        click.echo(click.style(text, fg=fg, dim=fg is None), err=True)


def not_passed(checked: runs_pb2.AnswerChecked) -> str:
    then = f"; {checked.escalated_to} is asked" if checked.escalated_to else ""
    return f"{checked.model} was not good enough: {printable(checked.reason)}{then}"


def from_cache(cached: runs_pb2.AnswerCached) -> str:
    kind = runs_pb2.AnswerCached.Kind.Name(cached.kind).removeprefix("KIND_").lower()
    alike = f" (similarity {cached.similarity:.2f})" if cached.similarity else ""
    return f"{cached.model} was not asked: {kind} cache hit{alike}"


def usage_line(run: runs_pb2.Run) -> str:
    """What a finished run used, in one line."""
    models = ", ".join(dict.fromkeys(step.model for step in run.steps)) or "no model"
    took = (run.finish_time.ToMilliseconds() or run.update_time.ToMilliseconds()) - (
        run.create_time.ToMilliseconds()
    )
    usage = run.usage
    return (
        f"{models} · {counted(len(run.steps), 'step')} · "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens · "
        f"{money(usage.cost_micros)} · {took} ms"
    )


def money(micros: int) -> str:
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    body = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *body, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (list(headings), *body)
    ]
    return "\n".join(lines)
