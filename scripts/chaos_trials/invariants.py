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
from scripts.chaos_trials.outside import Commit, Outside

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


async def check(load: Load, outside: Outside, url: str) -> Findings:
    """Reads every accepted run back and compares it with what was asked, told and effected."""
    findings = Findings()
    commits: defaultdict[str, list[Commit]] = defaultdict(list)
    for commit in outside.commits:
        commits[commit.item].append(commit)
    runs = list(load.accepted.values())
    for start in range(0, len(runs), _BATCH):
        read = (_read(load.state, run) for run in runs[start : start + _BATCH])
        for facts in await asyncio.gather(*read):
            _check_end(facts, load, findings)
            _check_steps(facts, findings)
            _check_events(facts, load, findings)
            _check_effects(facts, outside, findings)
            _check_commits(facts, commits, findings)
            _check_messages(facts, findings)
    _check_ledger(load, outside, findings)
    await _check_leftovers(url, findings)
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


def _check_end(facts: _Facts, load: Load, findings: Findings) -> None:
    run, name = facts.run, INVARIANTS[0]
    ended = run.ended
    expected = RunState.CANCELLED if run.run_id in load.cancelled else RunState.COMPLETED
    state = ended.state if ended else None
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
        key = f"{run.run_id}:{event.step}:{done.call_id}"
        tag = run.plan.tag_of(event.step, int(done.call_id.rpartition("_")[2]))
        written = outside.ledger.effects.get(key, [])
        findings.expect(
            [effect.tag for effect in written] == [tag],
            INVARIANTS[2],
            f"{key} took effect {len(written)} times, as {[effect.tag for effect in written]}",
        )


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


def _check_commits(facts: _Facts, commits: dict[str, list[Commit]], findings: Findings) -> None:
    """What a process was told is committed is what is stored, and it was told once."""
    run = facts.run
    stored = {f"{run.run_id}:{record.step}": record.attempt for record in facts.steps}
    for event in facts.events:
        if isinstance(event.payload, ToolCallFinished):
            stored[f"{run.run_id}:{event.step}:{event.payload.call_id}"] = event.attempt
    names = set(stored)
    names.update(f"{run.run_id}:{step}" for step in range(1, len(run.plan.steps) + 2))
    for item in names:
        acknowledged = [c.attempt for c in commits.get(item, ()) if c.outcome == "done"]
        findings.expect(
            len(acknowledged) < 2, INVARIANTS[1], f"{item} was committed as {acknowledged}"
        )
        if acknowledged and run.run_id and not _was_ended_by(facts, item):
            findings.expect(
                stored.get(item) == acknowledged[0],
                INVARIANTS[4],
                f"{item} was acknowledged as attempt {acknowledged[0]}, "
                f"stored is {stored.get(item)}",
            )


def _was_ended_by(facts: _Facts, item: str) -> bool:
    """A commit of a failure or a cancellation leaves no record."""
    ended = facts.run.ended
    return bool(ended and ended.state is not RunState.COMPLETED and item)


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


async def _check_leftovers(url: str, findings: Findings) -> None:
    until = time.monotonic() + _SETTLING_S
    while left := await leftovers(url):
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.25)
    for sentence in left:
        findings.expect(False, INVARIANTS[6], sentence)


def _brief(numbers: Sequence[int]) -> str:
    """The numbers from the first that is out of order on."""
    at = next((i for i, n in enumerate(numbers) if n != i + 1), len(numbers))
    return f"1 to {at}, then {list(numbers[at : at + 5])}" if at else f"{list(numbers[:5])} first"
