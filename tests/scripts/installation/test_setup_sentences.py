"""What set-up says when something is missing, and how it takes what is there."""

import io
import stat
import sys
from pathlib import Path

import pytest

from scripts.installation.environment import Environment
from scripts.installation.redis_server import provide_redis, server_version
from scripts.installation.run import SetupError, explain, run
from scripts.installation.say import Say


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text("click==8\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    program(tmp_path / ".venv" / "bin" / "python", "exit 0")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("Temporary failure in name resolution", "is there a network?"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: No matching distribution found for x", "ERROR: No matching distribution"),
    ],
)
def test_a_failed_program_is_explained_in_one_sentence(line: str, sentence: str) -> None:
    assert sentence in explain(["Collecting x", line, "more"])


def test_a_failed_program_names_what_was_being_done(tmp_path: Path) -> None:
    failing = program(tmp_path / "pip", "echo 'ERROR: no such thing'; exit 3")
    with pytest.raises(SetupError, match=r"^installing x failed: ERROR: no such thing$"):
        run([failing], doing="installing x")


def test_numpy_2_in_the_environment_is_refused_with_what_to_do(project: Path) -> None:
    packages = project / ".venv" / "lib" / "python3.11" / "site-packages"
    (packages / "numpy-1.26.4.dist-info").mkdir(parents=True)
    Environment(project, Say(io.StringIO())).check()
    (packages / "numpy-1.26.4.dist-info").rename(packages / "numpy-2.1.0.dist-info")
    with pytest.raises(SetupError, match=r"^numpy 2\.1\.0 is in \.venv.*numpy==1\.26\.4"):
        Environment(project, Say(io.StringIO())).check()


def test_an_environment_is_complete_until_the_lock_changes(project: Path) -> None:
    calls = project / "calls"
    program(project / ".venv" / "bin" / "python", f'echo "$@" >> {calls}')
    (project / ".venv/lib/python3.11/site-packages/pip-25.dist-info").mkdir(parents=True)
    environment = Environment(project, Say(io.StringIO()))
    assert not environment.is_complete()

    environment.complete()
    assert environment.is_complete()
    assert "-r requirements.lock" in calls.read_text()

    calls.unlink()
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert not environment.is_complete()
    environment.complete()
    assert "requirements.lock" not in calls.read_text()

    (project / "requirements.lock").write_text("click==9\n")
    assert not environment.is_complete()


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", (7, 0, 15)),
        ("Valkey server v=8.1.0 sha=0", (8, 1, 0)),
        ("something else", None),
    ],
)
def test_the_version_of_a_store_is_read(
    said: str, version: tuple[int, ...] | None, tmp_path: Path
) -> None:
    assert server_version(str(program(tmp_path / "server", f"echo '{said}'"))) == version


def test_a_store_that_is_not_there_has_no_version(tmp_path: Path) -> None:
    assert server_version(str(tmp_path / "redis-server")) is None


def test_a_redis_that_is_too_old_is_refused_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "redis-server", "echo 'Redis server v=6.0.16 sha=0'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("FLEET_REDIS__URL", raising=False)
    with pytest.raises(SetupError, match=r"^redis-server is 6\.0\.16, and .* 7\.0 or newer"):
        provide_redis(tmp_path / ".fleet", Say(io.StringIO()))


def test_a_new_enough_redis_is_taken_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "valkey-server", "echo 'Valkey server v=7.2.5 sha=0'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = io.StringIO()
    provide_redis(tmp_path / ".fleet", Say(out))
    assert out.getvalue() == ""


def test_a_step_is_one_line_at_its_start_and_one_at_its_end() -> None:
    out = io.StringIO()
    say = Say(out)
    say.step("packages")
    say.detail("1 of 2")
    say.done()
    assert out.getvalue().splitlines() == [
        "setup: packages …",
        "setup: packages: done in 0 s",
    ]


def test_set_up_runs_on_the_standard_library_alone() -> None:
    said = run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(Path.cwd())!r})\n"
            "import scripts.installation.__main__; print('imported')",
        ],
        doing="importing",
    )
    assert said == ["imported"]
