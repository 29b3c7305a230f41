"""`fleet models` where nothing runs: what it refuses, and what it says."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.added_models.engine_files import VllmHost
from orchestrator.added_models.source import Engine
from orchestrator.added_models.switching import begin, plan_switch
from orchestrator.cli import main
from tests.orchestrator.added_models.given import ROOT, TINY_QWEN2, program
from tests.orchestrator.supervisor.running import fleet


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and ports where nothing listens."""
    monkeypatch.chdir(ROOT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    monkeypatch.setenv("FLEET_TRITON__GRPC_PORT", str(port))
    monkeypatch.setenv("FLEET_API__LISTEN", f"127.0.0.1:{port}")
    return tmp_path


def models(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["models", *words], input=stdin)


def left(home: Path) -> list[str]:
    folders = (home / "models" / name for name in ("repository", "staging"))
    return [path.name for folder in folders for path in folder.glob("*")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "llm_small", "--from", "."), "is a model of model_repository"),
        (("add", "agent_router", "--from", "."), "is a model of ensembles"),
        (("add", "../up", "--from", "."), "can't be a model's name"),
        (("add", "x", "--from", ".", "--like", "nobody"), "there are: llm_small"),
        (("add", "x", "--from", "nowhere", "--no-load"), "is not a folder here"),
        (("remove", "llm_small", "--yes"), "can only be unloaded"),
        (("remove", "chat_prompt", "--yes"), "was not added"),
        (("remove", "nobody", "--yes"), "no added model 'nobody'"),
        (("unload", "chat_prompt"), "no model 'chat_prompt'"),
        (("load", "nobody"), "there are: llm_small"),
        (("engine", "nobody", "vllm"), "there are: llm_small"),
        (("engine", "llm_large", "vllm"), "install it with: fleet engines install vllm"),
    ],
)
def test_a_mistake_is_explained_in_one_sentence(
    home: Path, words: tuple[str, ...], says: str
) -> None:
    done = models(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("fleet: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert left(home) == []


@pytest.mark.parametrize(
    ("source", "files"), [("hf:some/model@v1", "*.safetensors"), ("ov:model", "openvino_*.bin")]
)
def test_without_a_network_it_is_said_what_to_copy_where(
    tmp_path: Path, source: str, files: str
) -> None:
    words = ("models", "add", "x", "--from", source, "--no-load")
    cache = str(tmp_path / "cache")
    done = fleet(*words, home=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=cache)
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert said.startswith(f"fleet: --from {source}: the hub can't be reached from here")
    assert "into one folder here: config.json, generation_config.json, tokenizer.json" in said
    assert files in said
    assert said.endswith("then give the folder: --from ./model")
    assert left(tmp_path) == []


def test_where_triton_does_not_answer_nothing_is_begun(home: Path) -> None:
    done = models("add", "own", "--from", str(TINY_QWEN2))
    assert done.exit_code == 3
    assert "start it with: fleet up" in done.stderr
    assert left(home) == []


def test_a_model_is_written_for_the_next_start_and_removed_without_triton(home: Path) -> None:
    added = models("add", "own", "--from", str(TINY_QWEN2), "--no-load", "--json")
    assert added.exit_code == 0, added.output
    facts = json.loads(added.stdout)
    assert (facts["state"], facts["answer"], facts["engine"]) == (
        "unloaded",
        None,
        "openvino_genai",
    )
    assert Path(facts["folder"]).is_dir()
    again = models("add", "own", "--from", str(TINY_QWEN2), "--no-load")
    assert "'own' is there already" in again.stderr
    assert models("load", "own").exit_code == 3
    unsure = models("remove", "own", stdin="n\n")
    assert unsure.exit_code == 1
    assert left(home) == ["own"]
    removed = models("remove", "own", "--yes")
    assert (removed.exit_code, removed.stdout) == (0, "own is removed\n")
    assert left(home) == []


def test_one_added_model_may_be_like_another(home: Path) -> None:
    models("add", "one", "--from", str(TINY_QWEN2), "--no-load", "--like", "llm_large")
    made = models("add", "two", "--from", str(TINY_QWEN2), "--no-load", "--like", "one", "--json")
    assert json.loads(made.stdout)["input_price"] == 500_000


def test_the_check_of_the_repositories_sees_added_models(home: Path) -> None:
    models("add", "own", "--from", str(TINY_QWEN2), "--no-load")
    config = home / "models" / "repository" / "own" / "config.pbtxt"
    os.truncate(config, 5)
    done = CliRunner().invoke(main, ["triton", "check"])
    assert done.exit_code == 1
    assert f"{config}:1" in done.stdout


def test_without_triton_another_engine_counts_at_the_next_start(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "model_repository"
    shutil.copytree(ROOT / "model_repository" / "llm_small", repository / "llm_small")
    monkeypatch.setenv("FLEET_TRITON__REPOSITORIES", json.dumps([str(repository)]))
    monkeypatch.setenv("FLEET_TRITON__SERVER", str(nvidia_s_server(tmp_path / "nvidia")))
    before = (repository / "llm_small" / "config.pbtxt").read_bytes()
    there = models("engine", "llm_small", "vllm")
    assert there.stdout == "llm_small will run on vllm when Triton starts\n", there.output
    assert 'backend: "vllm"' in (repository / "llm_small" / "config.pbtxt").read_text()
    again = models("engine", "llm_small", "vllm", "--json")
    assert json.loads(again.stdout)["state"] == "unchanged"
    back = models("engine", "llm_small", "openvino_genai")
    assert back.exit_code == 0, back.output
    assert (repository / "llm_small" / "config.pbtxt").read_bytes() == before


def test_a_switch_that_was_killed_is_taken_back_by_the_next(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "model_repository"
    shutil.copytree(ROOT / "model_repository" / "llm_small", repository / "llm_small")
    monkeypatch.setenv("FLEET_TRITON__REPOSITORIES", json.dumps([str(repository)]))
    folder = repository / "llm_small"
    plan = plan_switch(folder, Engine.VLLM, VllmHost(), 1536)
    begin(home / "models" / "switching", folder, plan, None)
    done = models("engine", "llm_small", "openvino_genai")
    assert "llm_small's engine was cut off: its old files are back" in done.stderr
    assert done.stdout == "llm_small runs on openvino_genai already\n"


def nvidia_s_server(folder: Path) -> Path:
    """A program where NVIDIA's container has its own, beside its backends."""
    for backend in ("python", "vllm"):
        (folder / "backends" / backend).mkdir(parents=True)
    return program(folder / "bin" / "tritonserver", "exit 1")
