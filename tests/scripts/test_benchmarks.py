"""scripts/bench: rounds in turns, ratios with bars, the report."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

from scripts.benchmarks.benchmark import ROOT, Bench, Benchmark, alternate
from scripts.benchmarks.cpu import CpuMeter
from scripts.benchmarks.fairness import jain
from scripts.benchmarks.null_chat import ANSWER, chat
from scripts.benchmarks.outcome import CannotRun, Curve, Outcome, Ratio, Series, WrongAnswer
from scripts.benchmarks.peers.run_script import run_script
from scripts.benchmarks.prefix import TURNS, conversation
from scripts.benchmarks.progress import Progress
from scripts.benchmarks.report import write_report
from scripts.benchmarks.table import table
from tests.orchestrator.adapters.http_tools.serving import serving

SPIN = "import sys\nn = 0\nwhile n < 3_000_000: n += 1\nprint('spun', flush=True); sys.stdin.read()"


async def nothing(bench: Bench) -> Outcome:
    return Outcome()


NOTHING = Benchmark("nothing", "nothing against nothing", nothing)


@pytest.mark.parametrize(
    ("rounds", "at_most", "met"),
    [
        ([4.0, 6.0, 5.0], False, True),
        ([4.0, 4.9, 6.0], False, False),
        ([4.0, 4.9, 6.0], True, True),
        ([5.1], True, False),
    ],
)
def test_a_bar_is_about_the_median_of_the_rounds(
    rounds: list[float], at_most: bool, met: bool
) -> None:
    ratio = Ratio("key", "times theirs", rounds, 5.0, at_most)
    assert ratio.met is met
    shown = table(NOTHING, Outcome(ratios=[ratio]))
    assert ("met" if met else "MISSED") in shown


async def test_ways_take_turns_in_both_orders_and_the_warm_up_is_not_counted(
    tmp_path: Path,
) -> None:
    order: list[str] = []

    def way(name: str) -> Callable[[], Awaitable[int]]:
        async def measure() -> int:
            order.append(name)
            return len(order)

        return measure

    bench = Bench(True, tmp_path, Progress("x", StringIO()))
    found = await alternate(bench, 2, {"ours": way("ours"), "theirs": way("theirs")})
    assert order == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert found == {"ours": [3, 6], "theirs": [4, 5]}


def test_the_report_has_the_table_the_plot_and_the_raw_figures(tmp_path: Path) -> None:
    outcome = Outcome(
        [
            Series(
                "ours & theirs", "steps", rates=[1500.0], latencies_ms=[2.5], cpu_s={"api": [0.5]}
            )
        ],
        [Ratio("ratio", "times theirs", [2.0, 3.0, 7.0])],
        [Curve("growth", "agents", "runs/s", {"ours": [(1, 2), (10, 3)]}, logarithmic=True)],
        {"at_once": 64},
        ["PostgreSQL: there is none"],
    )
    page = write_report(tmp_path / "out", {NOTHING: outcome}, quick=True).read_text()
    assert "ours &amp; theirs" in page
    assert "1,500 steps/s" in page
    assert "left out: PostgreSQL: there is none" in page
    assert page.count("<svg") == 1
    raw = json.loads((tmp_path / "out" / "raw.json").read_text())
    assert raw["benchmarks"]["nothing"]["ratios"][0]["rounds"] == [2.0, 3.0, 7.0]
    assert outcome.json == {"ratio": 3.0}


def test_jains_index_is_one_for_equals_and_one_nth_for_a_single_winner() -> None:
    assert jain([5, 5, 5, 5]) == 1.0
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([0, 0]) == 1.0


def test_each_prompt_of_a_conversation_begins_with_the_one_before() -> None:
    prompts = conversation(3)
    assert len(prompts) == TURNS
    for before, after in pairwise(prompts):
        assert after.startswith(before)
    assert not conversation(4)[0].startswith(prompts[0][:40])


def test_the_cpu_of_a_childs_child_is_counted_with_it() -> None:
    inner = [sys.executable, "-c", SPIN]
    outer = f"import subprocess; subprocess.run({inner!r})"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        meter = CpuMeter({"spinning": [process.pid], "gone": [2**22 + 1]})
        process.stdout.readline()
        taken = meter.taken()
        process.stdin.close()
    assert taken["spinning"] > 0
    assert taken["gone"] == 0


async def test_a_proxy_that_answers_something_else_fails_the_benchmark() -> None:
    def reply(text: str) -> bytes:
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()

    async with serving(reply(ANSWER)) as right:
        assert len(await chat(right.port, "key", "m", callers=2, requests=5)) == 5
    async with serving(reply("No.")) as wrong:
        with pytest.raises(WrongAnswer, match=r"answered 'No\.'"):
            await chat(wrong.port, "key", "m", callers=1, requests=1)


async def test_a_peers_script_that_fails_says_why(tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text("print('noise'); print('{\"wrong\": 0}')")
    assert await run_script(Path(sys.executable), script) == {"wrong": 0}
    script.write_text("raise SystemExit('no database')")
    with pytest.raises(CannotRun, match=r"peer\.py failed: no database"):
        await run_script(Path(sys.executable), script)


def test_an_unknown_benchmark_is_refused_with_the_known_ones() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", "spede"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "there is no benchmark 'spede'; there are: engine, gateway" in ended.stderr
