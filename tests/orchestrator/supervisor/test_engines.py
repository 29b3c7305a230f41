"""A running stack with a model on vLLM, and on another engine after that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines import EngineStore
from tests.conftest import skip_or_fail
from tests.orchestrator.supervisor.running import ROOT, RunningStack, fleet

WEIGHTS = ROOT / "model_repository" / "llm_large" / "1"


def models(stack: RunningStack, *words: str, code: int = 0) -> str:
    done = fleet("models", *words, home=stack.home, timeout_s=180.0)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def ask(stack: RunningStack) -> list[dict[str, Any]]:
    """What happens in a run of an agent that has this model only."""
    asked = stack.ask("What is 437 * 12?", "--agent", "owner", "--json")
    assert asked.returncode == 0, asked.stderr
    return [json.loads(line) for line in asked.stdout.splitlines()]


def assert_answered(events: list[dict[str, Any]]) -> None:
    assert [e for e in events if "tool_call_requested" in e]
    text = "".join(e["text_delta"]["text"] for e in events if "text_delta" in e)
    assert "5244" in text
    assert "5244" in events[-1]["finished"]["result"]


@pytest.fixture
def folder(stack: RunningStack, tmp_path: Path) -> Iterator[Path]:
    """Of an added model that runs on vLLM; llm_large's weights."""
    engines = stack.home / "engines"
    engines.symlink_to(ROOT / ".fleet" / "engines")
    if EngineStore(stack.home).facts() is None:
        engines.unlink()
        skip_or_fail("there is no vLLM: run .venv/bin/fleet engines install vllm")
    agent = tmp_path / "agent.json"
    policy = {"models": ["own"]}
    agent.write_text(json.dumps({"name": "owner", "tools": ["calculator"], "policy": policy}))
    try:
        source = str(WEIGHTS / "hugging_face")
        models(stack, "add", "own", "--from", source, "--engine", "vllm", "--like", "llm_large")
        applied = fleet("agents", "apply", str(agent), home=stack.home)
        assert applied.returncode == 0, applied.stderr
        yield stack.home / "models" / "repository" / "own"
    finally:
        fleet("models", "remove", "own", "--yes", home=stack.home)
        engines.unlink()


def test_vllm_answers_with_a_tool_and_gives_way_to_another_engine(
    stack: RunningStack, folder: Path
) -> None:
    assert_answered(ask(stack))

    shutil.copytree(WEIGHTS / "openvino", folder / "1" / "openvino")
    said = json.loads(models(stack, "engine", "own", "openvino_genai", "--json"))
    assert (said["state"], bool(said["answer"])) == ("ready", True)
    assert_answered(ask(stack))

    mine = folder / "1" / "engines" / "vllm" / "model.json"
    mine.parent.mkdir(parents=True)
    mine.write_text(json.dumps({"model": str(folder / "1" / "hugging_face"), "no_such": 1}))
    before = (folder / "config.pbtxt").read_bytes()
    assert "no_such" in models(stack, "engine", "own", "vllm", code=1)
    assert (folder / "config.pbtxt").read_bytes() == before
    assert_answered(ask(stack))
