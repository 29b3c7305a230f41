from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from orchestrator.supervisor import leftovers
from orchestrator.supervisor.record import read_record, runtime_folder
from tests.orchestrator.supervisor.running import RunningStack, fleet, start_stack, until

ANSWERED_WITHIN_S = 30.0
STOPPED_WITHIN_S = 10.0


def test_a_question_is_answered_by_the_model_and_the_tool_and_streamed(
    stack: RunningStack,
) -> None:
    done = stack.ask("What is 437 * 12?")
    assert done.returncode == 0, done.stderr
    assert "5244" in done.stdout
    assert '→ calculator {"expression": "437 * 12"}' in done.stderr
    assert "← 5244" in done.stderr


def test_json_events_are_numbered_without_a_gap_and_stream_the_answer(
    stack: RunningStack,
) -> None:
    done = stack.ask("What is 437 * 12?", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [int(event.get("seq", 0)) for event in events] == list(range(len(events)))
    deltas = [event["text_delta"]["text"] for event in events if "text_delta" in event]
    assert "".join(deltas) == events[-1]["finished"]["result"]
    assert "snapshot" in events[0]


def test_a_session_is_continued(stack: RunningStack) -> None:
    first = json.loads(stack.ask("Hello!", "--json").stdout.splitlines()[0])
    session = first["snapshot"]["run"]["session_id"]
    assert stack.ask("What is 437 * 12?", "--session", session).returncode == 0
    listed = fleet("runs", "list", "--session", session, "--json", home=stack.home)
    assert len(listed.stdout.splitlines()) == 2


def test_a_run_can_be_read_and_watched_again(stack: RunningStack) -> None:
    asked = json.loads(stack.ask("What is 437 * 12?", "--json").stdout.splitlines()[0])
    run_id = asked["run_id"]
    read = fleet("runs", "get", run_id, home=stack.home)
    assert "5244" in read.stdout
    assert "llm_" in read.stdout
    watched = fleet("runs", "watch", run_id, home=stack.home)
    assert "5244" in watched.stdout


def test_the_models_are_listed_with_their_state(stack: RunningStack) -> None:
    listed = fleet("models", "list", home=stack.home)
    states = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "ready" in states["llm_small"]
    assert "ready" in states["llm_large"]


def test_an_agent_is_applied_once_for_the_same_content(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "clerk.toml"
    file.write_text('name = "clerk"\nsystem_prompt = "Be brief."\ntools = ["lookup"]\n')
    said = [fleet("agents", "apply", str(file), home=stack.home).stdout for _ in range(2)]
    assert said == ["clerk@1\n", "clerk@1\n"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("ask", ""), "input"),
        (("ask", "hi", "--agent", "nobody"), "nobody"),
        (("ask", "hi", "--session", "ses_zz"), "session"),
        (("runs", "get", "run_00_0000000000000000000000"), "run"),
    ],
)
def test_a_mistake_is_explained_in_one_line(
    stack: RunningStack, words: tuple[str, ...], says: str
) -> None:
    done = fleet(*words, home=stack.home)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_second_stack_in_the_same_folder_is_refused(stack: RunningStack) -> None:
    second = fleet("up", "--free-ports", home=stack.home)
    assert second.returncode == 1
    assert "already runs" in second.stderr


@pytest.mark.parametrize(
    "name",
    [
        "api",
        "worker",
        "toolbox",
        "redis-server",
        "tritonserver",
        "stub llm_small",
        "engine llm_small",
        "stub llm_large",
        "stub embedder",
        "stub task_classifier",
        "stub chat_prompt",
    ],
)
def test_the_next_question_is_answered_after_any_process_is_killed(
    stack: RunningStack, name: str
) -> None:
    # The one before may have been answered by another model while this one's still loaded.
    until(
        lambda: name in stack.processes(), within_s=ANSWERED_WITHIN_S, what=f"the return of {name}"
    )
    victim = stack.processes()[name]
    os.kill(victim, signal.SIGKILL)
    done = stack.ask("What is 437 * 12?", timeout_s=ANSWERED_WITHIN_S)
    assert done.returncode == 0, done.stderr
    assert "5244" in done.stdout
    until(
        lambda: stack.processes().get(name, victim) != victim,
        within_s=ANSWERED_WITHIN_S,
        what=f"the restart of {name}",
    )


def test_a_stack_without_its_supervisor_goes_on_and_the_next_one_takes_over(
    tmp_path: Path,
) -> None:
    first = start_stack(tmp_path)
    first.supervisor.kill()
    first.supervisor.wait()
    try:
        assert "5244" in first.ask("What is 437 * 12?", timeout_s=ANSWERED_WITHIN_S).stdout
        orphans = set(first.processes().values())
        second = start_stack_over(tmp_path)
        assert orphans.isdisjoint(leftovers.find(runtime_folder(tmp_path)))
        assert "5244" in second.ask("What is 437 * 12?").stdout
        second.supervisor.send_signal(signal.SIGINT)
        assert second.supervisor.wait(STOPPED_WITHIN_S) == 0
        assert leftovers.find(runtime_folder(tmp_path)) == []
        assert read_record(tmp_path) is None
    finally:
        leftovers.end(runtime_folder(tmp_path), grace_s=1.0)


def start_stack_over(home: Path) -> RunningStack:
    """Starts where a record of a dead supervisor still lies."""
    (runtime_folder(home) / "stack.json").unlink()
    return start_stack(home)


def test_ctrl_c_leaves_no_process_and_no_shared_memory(tmp_path: Path) -> None:
    running = start_stack(tmp_path)
    record = runtime_folder(tmp_path) / "triton" / "server.json"
    prefix = json.loads(record.read_text())["shm_prefix"]
    assert list(Path("/dev/shm").glob(f"{prefix}*"))
    running.supervisor.send_signal(signal.SIGINT)
    assert running.supervisor.wait(STOPPED_WITHIN_S) == 0
    assert leftovers.find(runtime_folder(tmp_path)) == []
    assert list(Path("/dev/shm").glob(f"{prefix}*")) == []


def test_a_taken_port_is_one_sentence_and_leaves_nothing(
    stack: RunningStack, tmp_path: Path
) -> None:
    record = read_record(stack.home)
    assert record is not None
    refused = fleet("up", home=tmp_path, FLEET_API__LISTEN=record.api)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") <= 2
    assert "api.listen" in refused.stderr
    assert "--free-ports" in refused.stderr
    assert leftovers.find(runtime_folder(tmp_path)) == []
