"""What has to hold after every trial, whatever was done to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.domain.events import Finished, RunEvent, ToolCallFinished
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.runs import RunState, StepRecord
from orchestrator.domain.tools import Effect
from orchestrator.ports.state import State
from scripts.chaos_trials.leftovers import leftovers
from scripts.chaos_trials.load import Accepted, Load
from scripts.chaos_trials.outside import Outside

INVARIANTS = (
    "one terminal state",
    "one result a step",
    "one effect a key",
    "events without gap or double",
    "nothing acknowledged is lost",
    "messages in order, once",
    "nothing left over",
)
_SETTLING_S = 5.0
_BATCH = 200


@dataclass(slots=True)
class Findings:
    """`broken` has sentences, by invariant."""

    broken: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def expect(self, holds: bool, invariant: str, sentence: str) -> None:
        if not holds:
            self.broken[invariant].append(sentence)

    @property
    def sentences(self) -> list[str]:
        return [
            f"{invariant}: {broken[0]}" + (f" (and {len(broken) - 1} more)" if broken[1:] else "")
            for invariant, broken in self.broken.items()
        ]


@dataclass(frozen=True, slots=True)
class _Facts:
    """Everything stored of a run."""

    run: Accepted
    events: tuple[RunEvent, ...]
    steps: tuple[StepRecord, ...]
    messages: tuple[Message, ...]


async def check(load: Load, outside: Outside, url: str, shards: int) -> Findings:
    """Reads every accepted run back and compares it with what was asked, told and effected."""
    findings = Findings()
    runs = list(load.accepted.values())
    for start in range(0, len(runs), _BATCH):
        read = (_read(load.state, run) for run in runs[start : start + _BATCH])
        for facts in await asyncio.gather(*read):
            _check_end(facts, findings)
            _check_steps(facts, findings)
            _check_events(facts, load, findings)
            _check_effects(facts, outside, findings)
            _check_commits(facts, load, outside, findings)
            _check_messages(facts, findings)
    _check_ledger(load, outside, findings)
    await _check_leftovers(url, shards, findings)
    return findings


async def _read(state: State, run: Accepted) -> _Facts:
    events: list[RunEvent] = []
    while not events or not events[-1].terminal:
        after = events[-1].seq if events else 0
        more = await state.feed.read(run.tenant, run.run_id, after_seq=after, limit=1000)
        if not more:
            break
        events += more
    steps, messages = await asyncio.gather(
        state.runs.steps(run.tenant, run.run_id),
        state.sessions.messages(run.tenant, run.session_id),
    )
    mine = tuple(message for message in messages if message.run_id == run.run_id)
    return _Facts(run, tuple(events), steps, mine)


def _check_end(facts: _Facts, findings: Findings) -> None:
    run, name = facts.run, INVARIANTS[0]
    ended = run.ended
    expected, state = RunState.COMPLETED, ended.state if ended else None
    why = f" ({ended.error.reason}: {ended.error.message})" if ended and ended.error else ""
    findings.expect(state is expected, name, f"{run.run_id} is {state}, not {expected}{why}")
    finished = [event for event in facts.events if isinstance(event.payload, Finished)]
    findings.expect(len(finished) == 1, name, f"{run.run_id} says finished {len(finished)} times")
    last = facts.events[-1].payload if facts.events else None
    findings.expect(isinstance(last, Finished), name, f"{run.run_id} goes on after its end")
    if ended and isinstance(last, Finished):
        findings.expect(
            last.state is ended.state, name, f"{run.run_id} is {ended.state}, told {last.state}"
        )


def _check_steps(facts: _Facts, findings: Findings) -> None:
    run, numbers = facts.run, [record.step for record in facts.steps]
    expected = list(range(1, len(run.plan.steps) + 2))
    if run.ended and run.ended.state is not RunState.COMPLETED:
        expected = expected[: len(numbers)]
    findings.expect(
        numbers == expected, INVARIANTS[1], f"{run.run_id} has the steps {numbers}, not {expected}"
    )
    calls = Counter(
        event.payload.call_id
        for event in facts.events
        if isinstance(event.payload, ToolCallFinished)
    )
    doubled = [call for call, count in calls.items() if count > 1]
    findings.expect(
        not doubled, INVARIANTS[1], f"{run.run_id} has several results of the calls {doubled}"
    )


def _check_events(facts: _Facts, load: Load, findings: Findings) -> None:
    stored = [event.seq for event in facts.events]
    findings.expect(
        stored == list(range(1, len(stored) + 1)),
        INVARIANTS[3],
        f"{facts.run.run_id} stores the events {_brief(stored)}",
    )
    ends = load.ends_at.get(facts.run.run_id, {len(stored)})
    findings.expect(
        ends == {len(stored)},
        INVARIANTS[3],
        f"watchers of {facts.run.run_id} saw {sorted(ends)} events, not {len(stored)}",
    )
    seen = load.seen.get(facts.run.run_id)
    findings.expect(
        seen is None or seen == stored,
        INVARIANTS[3],
        f"a watcher of {facts.run.run_id} saw {_brief(seen or [])}, not 1 to {len(stored)}",
    )


def _check_effects(facts: _Facts, outside: Outside, findings: Findings) -> None:
    """Every successful result stands for one effect, that of this very call."""
    run = facts.run
    for event in facts.events:
        done = event.payload
        if not isinstance(done, ToolCallFinished) or not done.ok or done.name == Effect.PURE:
            continue
        key, tag = _key(run, done), run.plan.tag_of(*_place(done))
        written = outside.ledger.effects.get(key, [])
        findings.expect(
            [effect.tag for effect in written] == [tag],
            INVARIANTS[2],
            f"{key} took effect {len(written)} times, as {[effect.tag for effect in written]}",
        )


def _place(done: ToolCallFinished) -> tuple[int, int]:
    """The step of a call and its number in it, which the worker wrote into its id."""
    _, step, number = done.call_id.split("_")
    return int(step), int(number)


def _key(run: Accepted, done: ToolCallFinished) -> str:
    return f"{run.run_id}:{_place(done)[0]}:{done.call_id}"


def _check_ledger(load: Load, outside: Outside, findings: Findings) -> None:
    of_tag: defaultdict[str, set[str]] = defaultdict(set)
    for key, written in outside.ledger.effects.items():
        findings.expect(len(written) == 1, INVARIANTS[2], f"{key} was written {len(written)} times")
        findings.expect(
            key.partition(":")[0] in load.accepted, INVARIANTS[2], f"{key} is of no accepted run"
        )
        for effect in written:
            of_tag[effect.tag].add(key)
    for tag, keys in of_tag.items():
        findings.expect(len(keys) == 1, INVARIANTS[2], f"{tag} took effect under {sorted(keys)}")


def _check_commits(facts: _Facts, load: Load, outside: Outside, findings: Findings) -> None:
    """What a process was told is committed is what is stored, and it was told once."""
    run = facts.run
    stored = {f"{run.run_id}:{record.step}": record.attempt for record in facts.steps}
    for event in facts.events:
        if isinstance(event.payload, ToolCallFinished):
            stored[_key(run, event.payload)] = event.attempt
    for item, attempt in stored.items():
        # A call that a person answered, or had run again, counts its attempts anew.
        findings.expect(
            item in load.answered or attempt >= outside.attempts.get(item, 0),
            INVARIANTS[1],
            f"{item} has the result of attempt {attempt}, of {outside.attempts.get(item)}",
        )
    acknowledged: defaultdict[str, list[int]] = defaultdict(list)
    for commit in outside.commits_of(run.run_id):
        if commit.outcome == "done":
            acknowledged[commit.item].append(commit.attempt)
    for item, attempts in acknowledged.items():
        findings.expect(
            len(attempts) == 1, INVARIANTS[1], f"{item} was committed as {sorted(attempts)}"
        )
        findings.expect(
            stored.get(item) == attempts[0],
            INVARIANTS[4],
            f"{item} was acknowledged as attempt {attempts[0]}, stored is {stored.get(item)}",
        )


def _check_messages(facts: _Facts, findings: Findings) -> None:
    run = facts.run
    if run.ended is None or run.ended.state is not RunState.COMPLETED:
        return
    expected: list[str] = [Role.USER]
    for step in run.plan.steps:
        expected += [Role.ASSISTANT, *(Role.TOOL for _ in step)]
    expected.append(Role.ASSISTANT)
    roles = [message.role.value for message in facts.messages]
    findings.expect(
        roles == expected, INVARIANTS[5], f"{run.run_id} has the messages {roles}, not {expected}"
    )
    calls = [call.call_id for message in facts.messages for call in message.tool_calls]
    results = [m.tool_call_id for m in facts.messages if m.role is Role.TOOL]
    findings.expect(
        calls == results, INVARIANTS[5], f"{run.run_id} has the results {results} of {calls}"
    )
    findings.expect(
        run.ended.result.endswith(run.plan.answer),
        INVARIANTS[5],
        f"{run.run_id} answered {run.ended.result!r}, not … {run.plan.answer!r}",
    )


async def _check_leftovers(url: str, shards: int, findings: Findings) -> None:
    until = time.monotonic() + _SETTLING_S
    while left := await leftovers(url, shards):
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.25)
    for sentence in left:
        findings.expect(False, INVARIANTS[6], sentence)


def _brief(numbers: Sequence[int]) -> str:
    """The numbers from the first that is out of order on."""
    at = next((i for i, n in enumerate(numbers) if n != i + 1), len(numbers))
    return f"1 to {at}, then {list(numbers[at : at + 5])}" if at else f"{list(numbers[:5])} first"
