"""Models of one's own on a running stack: the real Triton, and a Qwen2 with random weights."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.added_models.given import TINY_QWEN2, copy_of_qwen2, hugging_face
from tests.orchestrator.supervisor.running import RunningStack, fleet, until

BACK_WITHIN_S = 120.0


def models(stack: RunningStack, *words: str, code: int = 0) -> str:
    done = fleet("models", *words, home=stack.home, timeout_s=120.0)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def listed(stack: RunningStack) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in models(stack, "list", "--json").splitlines()]
    return {row["name"]: row for row in rows}


def left(stack: RunningStack) -> list[str]:
    root = stack.home / "models"
    return [p.name for folder in ("repository", "staging") for p in (root / folder).glob("*")]


@pytest.fixture
def own(stack: RunningStack) -> Iterator[str]:
    """An added model, loaded."""
    said = json.loads(models(stack, "add", "own", "--from", str(TINY_QWEN2), "--json"))
    assert (said["state"], bool(said["answer"])) == ("ready", True)
    yield "own"
    fleet("models", "remove", "own", "--yes", home=stack.home)


@pytest.fixture
def agent(stack: RunningStack, own: str, tmp_path: Path) -> str:
    """One that may only use the added model."""
    file = tmp_path / "agent.json"
    file.write_text(json.dumps({"name": "owner", "policy": {"models": [own]}}))
    applied = fleet("agents", "apply", str(file), home=stack.home)
    assert applied.returncode == 0, applied.stderr
    return "owner"


def test_an_added_model_answers_agents_without_a_restart(stack: RunningStack, agent: str) -> None:
    before = stack.processes()
    asked = stack.ask("Hello", "--agent", agent, "--json")
    assert asked.returncode == 0, asked.stderr
    finished = json.loads(asked.stdout.splitlines()[-1])["finished"]
    assert finished["result"]
    row = listed(stack)["own"]
    assert (row["state"], row["versions"], row["added"]) == ("ready", ["1"], True)
    assert row["memory_bytes"] > 10_000_000
    assert row["context_tokens"] == 2048
    assert stack.processes()["tritonserver"] == before["tritonserver"]


def test_a_removed_model_is_refused_to_the_agents_that_name_it(
    stack: RunningStack, agent: str
) -> None:
    said = models(stack, "remove", "own", "--yes")
    assert "removed" in said
    assert left(stack) == []
    until(lambda: "own" not in listed(stack), within_s=20, what="the removal in the catalogue")
    asked = stack.ask("Hello", "--agent", agent)
    assert asked.returncode != 0
    assert "the agent may only use own, and the catalogue, which is llm_" in asked.stderr


def test_an_unloaded_model_stays_so_when_triton_starts_again(stack: RunningStack, own: str) -> None:
    models(stack, "unload", own)
    assert listed(stack)[own]["state"] == "unloaded"
    first = stack.processes()["tritonserver"]
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        server = stack.processes().get("tritonserver", first)
        return server != first and listed(stack)["llm_large"]["state"] == "ready"

    until(is_back, within_s=BACK_WITHIN_S, what="Triton's return")
    assert listed(stack)[own]["state"] == "unloaded"
    assert f"engine {own}" not in stack.processes()
    models(stack, "load", own)
    assert listed(stack)[own]["state"] == "ready"


def test_a_model_that_does_not_load_leaves_nothing(stack: RunningStack, tmp_path: Path) -> None:
    folder = copy_of_qwen2(tmp_path / "torn")
    os.truncate(folder / "openvino_model.bin", 100)
    said = models(stack, "add", "torn", "--from", str(folder), code=1)
    assert "model torn does not load" in said
    assert "weights" in said
    assert left(stack) == []
    assert "torn" not in listed(stack)


def test_without_its_backend_a_model_is_written_and_not_loaded(
    stack: RunningStack, tmp_path: Path
) -> None:
    source = str(hugging_face(tmp_path / "hf"))
    try:
        said = models(stack, "add", "big", "--from", source, "--engine", "vllm")
        assert "load it with: fleet models load big" in said
        until(lambda: "big" in listed(stack), within_s=20, what="its entry in the catalogue")
        assert listed(stack)["big"]["state"] == "unloaded"
        assert "does not load" in models(stack, "load", "big", code=1)
    finally:
        models(stack, "remove", "big", "--yes")
