"""Which server is started, with which backends and which command line."""

import sys
from pathlib import Path

import pytest

from orchestrator.triton import Ports, ServerNotFoundError, TritonConfig
from orchestrator.triton.assemble import assemble_backends
from orchestrator.triton.command import arguments, environment
from orchestrator.triton.find import find_server


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """What NVIDIA's container has, as far as it is looked at."""
    server = tmp_path / "tritonserver" / "bin" / "tritonserver"
    server.parent.mkdir(parents=True)
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    for backend in ("python", "vllm"):
        (tmp_path / "tritonserver" / "backends" / backend).mkdir(parents=True)
    return server


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    for backend in ("vllm", "openvino_genai", "llm_serving", "__pycache__"):
        (tmp_path / "ours" / backend).mkdir(parents=True)
    return tmp_path / "ours"


def test_an_explicit_server_is_taken_before_all_others(container: Path) -> None:
    found = find_server(container)
    assert found.server == container
    assert found.backends == container.parent.parent / "backends"
    assert not found.from_wheel


def test_a_server_on_the_path_is_taken_before_the_wheels(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(container.parent))
    assert find_server().server == container


def test_the_wheels_server_has_the_stub_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = find_server()
    assert found.from_wheel
    assert found.stub is not None
    assert found.stub.is_file()
    assert found.stub.parent.name == f"3.{sys.version_info.minor}"


def test_a_server_without_a_python_backend_is_refused(container: Path) -> None:
    (container.parent.parent / "backends" / "python").rmdir()
    with pytest.raises(ServerNotFoundError, match="has no Python backend"):
        find_server(container)


def test_a_containers_own_backends_keep_their_names(
    container: Path, ours: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backends"
    assemble_backends(find_server(container), ours, target)
    own = container.parent.parent / "backends"
    assert {link.name: link.resolve() for link in target.iterdir()} == {
        "python": own / "python",
        "vllm": own / "vllm",
        "openvino_genai": ours / "openvino_genai",
        "llm_serving": ours / "llm_serving",
    }


def test_the_wheels_python_backend_gets_a_stub_that_can_run(ours: Path, tmp_path: Path) -> None:
    target = tmp_path / "backends"
    (target / "old").mkdir(parents=True)
    assemble_backends(find_server(), ours, target)
    stub = target / "python" / "triton_python_backend_stub"
    assert stub.stat().st_mode & 0o111
    assert (target / "python" / "libtriton_python.so").is_file()
    assert not (target / "old").exists()


def test_the_server_is_told_its_addresses_and_models(container: Path, tmp_path: Path) -> None:
    config = TritonConfig(
        repositories=(tmp_path,), runtime_dir=tmp_path, auto_complete=False, arguments=("--id=a",)
    )
    command = arguments(
        config,
        find_server(container),
        models={"b", "a"},
        ports=Ports(1, 2, 3),
        backends=tmp_path,
        shm_prefix="fleet_triton_x",
    )
    assert command[0] == str(container)
    assert command[-1] == "--id=a"
    loaded = [word for word in command if word.startswith("--load-model")]
    assert loaded == ["--load-model=a", "--load-model=b"]
    assert "--disable-auto-complete-config" in command
    assert command.count("127.0.0.1") == 3
    assert not any(part.startswith("--cache-config") for part in command)


def test_the_stub_finds_this_environment_and_nothing_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/before")
    config = TritonConfig(
        repositories=(), runtime_dir=tmp_path, environment={"A": "b"}, library_path=(tmp_path,)
    )
    variables = environment(config, find_server())
    assert "PYTHONPATH" not in variables
    assert variables["VIRTUAL_ENV"] == sys.prefix
    assert variables["PATH"].startswith(f"{sys.prefix}/bin:")
    libraries = variables["LD_LIBRARY_PATH"].split(":")
    assert libraries[0].endswith("nvidia_pytriton.libs")
    assert libraries[-2:] == [str(tmp_path), "/before"]
    assert variables["A"] == "b"
