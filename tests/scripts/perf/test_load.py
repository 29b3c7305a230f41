from pathlib import Path
from typing import Any

import pytest

from scripts.perf.binary import PerfAnalyzer, PerfAnalyzerMissingError, find_perf_analyzer
from scripts.perf.load import LoadFailedError, run_load, write_input_data
from tests.conftest import skip_or_fail

CACHE = Path(__file__).parents[3] / ".fleet" / "perf_analyzer"


@pytest.fixture(scope="module")
def analyzer() -> PerfAnalyzer:
    try:
        return find_perf_analyzer(CACHE, print)
    except PerfAnalyzerMissingError as missing:
        skip_or_fail(str(missing))
        raise


def test_a_load_has_the_callers_figures_and_each_model_s_share(
    analyzer: PerfAnalyzer, triton: Any, tmp_path: Path
) -> None:
    texts = [{"TEXT": f"measured text number {n}"} for n in range(20_000)]
    data = write_input_data(tmp_path / "texts.json", texts)

    load = run_load(analyzer, triton.grpc_url, "agent_router", 16, input_data=data, window_ms=500)

    assert load.throughput > 0
    assert 0 < load.p50_ms <= load.p95_ms <= load.p99_ms
    assert load.shares.keys() == {
        *["agent_router", "embedder", "task_classifier", "complexity_classifier"],
        "risk_classifier",
    }
    assert load.shares["embedder"].per_execution > 1
    assert load.shares["embedder"].compute_ms > 0
    assert load.shares["embedder"].cache_hits == 0


def test_a_model_that_is_not_there_is_a_sentence(
    analyzer: PerfAnalyzer, triton: Any, tmp_path: Path
) -> None:
    data = write_input_data(tmp_path / "texts.json", [{"TEXT": "a text"}])

    with pytest.raises(LoadFailedError, match=r"measured nothing for absent at 1: .*absent"):
        run_load(analyzer, triton.grpc_url, "absent", 1, input_data=data, window_ms=500)
