import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def perf_analyzer(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.perf", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_a_short_sweep_writes_its_report_and_ends_with_one_json_object(tmp_path: Path) -> None:
    finished = perf_analyzer(
        *["--only", "embedder", "--skip-unbatched", "--concurrency", "1,8", "--window-ms", "500"],
        *["--rounds", "1"],
        *["--set", "embedder.max_batch_size=4", "--output", str(tmp_path / "out"), "--json"],
    )

    assert finished.returncode == 0, finished.stderr
    figures = json.loads(finished.stdout.splitlines()[-1])
    assert [load["concurrency"] for load in figures["batched"]] == [1, 8]
    assert figures["unbatched"] == []
    assert len(figures["direct"]) == 2
    share = figures["batched"][1]["shares"]["embedder"]
    assert share["cache_hits"] == 0
    assert 1 < share["inferences"] / share["executions"] <= 4
    assert "| embedder | 8 |" in (tmp_path / "out" / "report.md").read_text()


def test_a_setting_that_cannot_be_tried_stops_it_with_a_sentence(tmp_path: Path) -> None:
    finished = perf_analyzer("--set", "embedder.colour", "--output", str(tmp_path / "out"))

    assert finished.returncode == 2
    assert "is no setting like embedder.max_queue_delay_microseconds=2000" in finished.stderr
    assert not (tmp_path / "out").exists()
