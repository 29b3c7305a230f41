from pathlib import Path

import pytest

from scripts.perf.direct import DirectRates
from scripts.perf.load import Load, ModelShare
from scripts.perf.report import Figure, as_json, medians, targets, write_report
from scripts.perf.streaming import TOKENS, summarise
from scripts.perf.sweeps import Measurements, distinct_texts


def load(model: str, concurrency: int, throughput: float, p50_ms: float = 5.0) -> Load:
    share = ModelShare(inferences=100, executions=4, cache_hits=0, queue_ms=1.0, compute_ms=2.0)
    return Load(model, concurrency, throughput, p50_ms, p50_ms * 2, p50_ms * 3, {model: share})


@pytest.fixture
def measurements() -> Measurements:
    stream = summarise(
        "llm_small",
        1,
        [{"timestamp": 0, "response_timestamps": [10_000_000, 73_000_000]}],
    )
    return Measurements(
        direct=[DirectRates(rate / 2, rate) for rate in (900.0, 1100.0, 900.0, 1100.0)],
        batched=[
            *[load("agent_router", 1, 150.0, 6.5), load("agent_router", 64, 750.0)],
            *[load("agent_router", 1, 140.0, 7.5), load("agent_router", 64, 800.0)],
            *[load("agent_router", 1, 160.0, 6.0), load("agent_router", 64, 600.0)],
        ],
        unbatched=[load("agent_router", 64, rate) for rate in (250.0, 200.0, 300.0)],
        streams=[stream],
    )


def test_targets_are_medians_of_what_lies_side_by_side_in_time(measurements: Measurements) -> None:
    assert targets(measurements) == {
        "agent_router at 64: times without batching": (3.0, 2.0, 4.0),
        "agent_router at 64: share of OpenVINO, texts as they come": (1.5, 1.2, 1.6),
        "agent_router at 64: share of OpenVINO, texts sorted by length": (0.75, 0.6, 0.8),
        "agent_router at 1: p50 ms": (6.5, 6.0, 7.5),
    }


def test_a_figure_is_shown_with_its_spread() -> None:
    assert str(Figure.over([0.8, 0.71, 0.75])) == "0.75 (0.71 to 0.8)"


def test_tables_show_the_median_round(measurements: Measurements) -> None:
    assert [load.throughput for load in medians(measurements.batched)] == [150.0, 750.0]


def test_the_report_has_every_table_and_the_plot(
    measurements: Measurements, tmp_path: Path
) -> None:
    report = write_report(tmp_path / "out", measurements, "a machine").read_text()

    assert "| agent_router | 64 | 750 | 5.0 | 10.0 | 15.0 |" in report
    assert "| agent_router | 64 | agent_router | 1.00 | 2.00 | 25.0 | 0 |" in report
    assert "| llm_small | 1 |" in report
    assert (tmp_path / "out" / "batching.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_streams_alone_has_no_empty_tables(
    measurements: Measurements, tmp_path: Path
) -> None:
    only_streams = Measurements(streams=measurements.streams)

    report = write_report(tmp_path, only_streams, "a machine").read_text()

    assert "As configured" not in report
    assert not (tmp_path / "batching.png").exists()


def test_json_has_the_loads_and_the_targets(measurements: Measurements) -> None:
    figures = as_json(measurements)

    assert figures["batched"][1]["throughput"] == 750.0
    assert figures["targets"] == targets(measurements)


def test_streams_are_summarised_by_first_and_last_message() -> None:
    requests = [
        {"timestamp": 0, "response_timestamps": [4_000_000, 67_000_000]},
        {"timestamp": 0, "response_timestamps": [6_000_000, 8_000_000, 69_000_000]},
    ]

    stream = summarise("llm_small", 2, requests)

    assert stream.ttft_p50_ms == pytest.approx(5.0)
    assert stream.tpot_p50_ms == pytest.approx(63 / (TOKENS - 1))
    assert stream.messages_per_request == 2.5
    assert stream.tokens_per_s == pytest.approx(2 * TOKENS / 0.069)


def test_no_two_texts_of_a_load_are_the_same() -> None:
    texts = distinct_texts(5000) + distinct_texts(5000, series=1)

    assert len(set(texts)) == 10_000
