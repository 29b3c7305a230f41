from pathlib import Path

import pytest

from scripts.perf import binary
from scripts.perf.binary import PerfAnalyzer, PerfAnalyzerMissingError, find_perf_analyzer


def make_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_one_on_path_that_runs_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_program(tmp_path / "perf_analyzer", "echo Perf Analyzer Version 2.50.0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert find_perf_analyzer(tmp_path / "cache", print) == PerfAnalyzer(program)


def test_one_in_the_cache_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = make_program(tmp_path / "cache" / "perf_analyzer", "echo Perf Analyzer Version x >&2")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    said: list[str] = []

    found = find_perf_analyzer(tmp_path / "cache", said.append)

    assert found.path == program
    assert said == []
    assert {path.name for path in (tmp_path / "cache" / "lib").iterdir()} == set(binary.LIBRARIES)


def test_one_that_does_not_run_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program(tmp_path / "cache" / "perf_analyzer", "echo libfancy.so: not found >&2; exit 127")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    with pytest.raises(PerfAnalyzerMissingError, match=r"does not run here: libfancy\.so: not fo"):
        find_perf_analyzer(tmp_path / "cache", print)


def test_a_program_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    complaint = PerfAnalyzer(tmp_path / "absent").complaint()

    assert complaint is not None
    assert "No such file" in complaint


def test_its_libraries_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere")

    environment = PerfAnalyzer(tmp_path / "p", tmp_path / "lib").environment()

    assert environment["LD_LIBRARY_PATH"] == f"{tmp_path / 'lib'}:/elsewhere"
