"""Interrupts at a terminal: asked, answered, or said how to answer them elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterator

import click

from orchestrator.cli.render import counted, kind_name, printable
from orchestrator.client import Answer
from orchestrator.rpc.pb.fleet.v1 import runs_pb2

APPROVAL = runs_pb2.INTERRUPT_KIND_APPROVAL
CLIENT_TOOL = runs_pb2.INTERRUPT_KIND_CLIENT_TOOL
REPLY = runs_pb2.INTERRUPT_KIND_REPLY

_WAYS = {
    APPROVAL: ("--approve", '--deny --reason "…"'),
    CLIENT_TOOL: ('--result "…"', '--deny --reason "…"'),
    REPLY: ('--reply "…"', '--deny --reason "…"'),
}
_OTHER_WAYS = ('--result "what it gave"', "--approve", '--deny --reason "…"')


class UnansweredError(Exception):
    """Nobody here can answer: the interrupt goes on waiting."""


class Person:
    """Whoever sits at the terminal. Asked one thing at a time."""

    def __init__(self, *, present: bool) -> None:
        self._present = present
        self._asking = asyncio.Lock()

    async def answer(self, interrupt: runs_pb2.Interrupted) -> Answer | None:
        """Raises UnansweredError when nobody is there, or the terminal was closed."""
        if not self._present or interrupt.kind == CLIENT_TOOL:
            raise UnansweredError
        async with self._asking:
            if interrupt.kind == REPLY:
                return await self._reply(interrupt)
            return await self._approve(interrupt)

    async def _reply(self, interrupt: runs_pb2.Interrupted) -> Answer:
        while True:
            said = await self._line(f"? {question(interrupt)}\n  reply: ")
            if said:
                return runs_pb2.Reply(text=said)

    async def _approve(self, interrupt: runs_pb2.Interrupted) -> Answer:
        call = f"{interrupt.call.name} {printable(interrupt.call.arguments_json)}"
        if interrupt.kind == APPROVAL:
            asked, refusal = f"? {call}\n  run it? [y/N] ", ""
        else:
            detail = printable(interrupt.detail) or "it was cut off, and may have happened"
            asked, refusal = f"? {call}\n  {detail}\n  run it again? [y/N] ", "outcome unknown"
        approved = (await self._line(asked)).lower() in ("y", "yes")
        return runs_pb2.Approval(approved=approved, reason="" if approved else refusal)

    @staticmethod
    async def _line(prompt: str) -> str:
        """Reads a line without a thread, which would keep the process from ending."""
        click.echo(click.style(prompt, fg="yellow"), nl=False, err=True)
        loop = asyncio.get_running_loop()
        line: asyncio.Future[bytes] = loop.create_future()
        descriptor = sys.stdin.fileno()

        def read_it() -> None:
            if not line.done():
                line.set_result(_read(descriptor))

        loop.add_reader(descriptor, read_it)
        try:
            read = await line
        finally:
            loop.remove_reader(descriptor)
        if not read:
            raise UnansweredError
        return read.decode(errors="replace").strip()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""  # the terminal is gone


def question(interrupt: runs_pb2.Interrupted | runs_pb2.Interrupt) -> str:
    """What the model asks a person, in its own words where it is a question."""
    try:
        asked = json.loads(interrupt.call.arguments_json)["question"]
    except (ValueError, TypeError, KeyError, RecursionError):
        asked = interrupt.call.arguments_json
    return printable(str(asked))


def how_to_answer(run: runs_pb2.Run, address: str | None) -> Iterator[str]:
    """Lines that say what the run waits for, and the commands that answer it."""
    at = f" --address {shlex.quote(address)}" if address else ""
    yield f"run {run.run_id} waits for {counted(len(run.interrupts), 'answer')}:"
    for interrupt in run.interrupts:
        call = f"{interrupt.call.name} {printable(interrupt.call.arguments_json)}"
        yield f"  {kind_name(interrupt.kind)}: {call}"
        for way in _WAYS.get(interrupt.kind, _OTHER_WAYS):
            yield f"    fleet runs resume {run.run_id} {interrupt.interrupt_id} {way}{at}"
    yield f"then: fleet runs watch {run.run_id} --after -1{at}"
