"""What a tritonserver writes, made into which model loads and why one does not."""

from pathlib import Path

import pytest

from orchestrator.triton.serverlog import ServerLog, one_sentence

STAMP = "1121 00:08:52.405205 19893"


def read(tmp_path: Path, *lines: str) -> ServerLog:
    path = tmp_path / "triton.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    log = ServerLog(path)
    log.read()
    return log


def test_models_that_load_and_are_loaded_are_told_apart(tmp_path: Path) -> None:
    log = read(
        tmp_path,
        f'I{STAMP} model_lifecycle.cc:472] "loading: echo:1"',
        f'I{STAMP} model_lifecycle.cc:472] "loading: slow:1"',
        f"I{STAMP} model_lifecycle.cc:839] \"successfully loaded 'echo'\"",
    )
    assert log.loading == {"echo", "slow"}
    assert log.loaded == {"echo"}


def test_a_line_that_is_written_in_two_parts_is_read_once_whole(tmp_path: Path) -> None:
    path = tmp_path / "triton.log"
    path.write_bytes(b'I1 "successfully lo')
    log = ServerLog(path)
    log.read()
    with path.open("ab") as more:
        more.write(b"aded 'echo'\"\n")
    log.read()
    assert log.loaded == {"echo"}


@pytest.mark.parametrize(
    ("line", "model", "reason"),
    [
        (
            "model_lifecycle.cc:642] \"failed to load 'bad' version 1: Internal: ValueError: no "
            'weights\\n\\nAt:\\n  /repository/bad/1/model.py(4): initialize\\n"',
            "bad",
            "ValueError: no weights (model.py, line 4)",
        ),
        (
            "model_repository_manager.cc:724] \"failed to load model 'bad': at least one version "
            "must be available under the version policy of model 'bad'\"",
            "bad",
            "at least one version must be available under the version policy of model 'bad'",
        ),
        (
            'model_repository_manager.cc:703] "Invalid argument: ensemble pipe contains models '
            'that are not available or ambiguous: nope"',
            "pipe",
            "contains models that are not available or ambiguous: nope",
        ),
        (
            "model_repository_manager.cc:1460] \"Poll failed for model directory 'bad': dynamic "
            'batching preferred size must be <= max batch size for bad"',
            "bad",
            "dynamic batching preferred size must be <= max batch size for bad",
        ),
    ],
)
def test_a_failure_is_one_sentence_about_one_model(
    tmp_path: Path, line: str, model: str, reason: str
) -> None:
    assert read(tmp_path, f"E{STAMP} {line}").failed == {model: reason}


def test_a_config_that_does_not_parse_is_explained_by_the_line_before(tmp_path: Path) -> None:
    log = read(
        tmp_path,
        "[libprotobuf ERROR text_format.cc:337] Error parsing text-format inference.ModelConfig: "
        '3:41: Unknown enumeration value of "TYPE_X" for field "data_type".',
        f"E{STAMP} model_repository_manager.cc:1460] \"Poll failed for model directory 'bad': "
        'failed to read text proto from m/bad/config.pbtxt"',
    )
    assert log.failed == {
        "bad": "its config.pbtxt does not parse: line 3:41: "
        'Unknown enumeration value of "TYPE_X" for field "data_type".'
    }


def test_what_every_machine_without_a_gpu_says_is_no_trouble(tmp_path: Path) -> None:
    log = read(
        tmp_path,
        f'E{STAMP} server.cc:241] "CudaDriverHelper has not been initialized."',
        "Error: Failed to initialize NVML",
        f'E{STAMP} ensemble_scheduler.cc:1468] "unable to create stream for pipe: CUDA"',
        f"E{STAMP} main.cc:1] \"failed to start HTTP service: Socket '0.0.0.0:8000' in use\"",
    )
    assert log.trouble == ["failed to start HTTP service: Socket '0.0.0.0:8000' in use"]


def test_a_sentence_has_a_bound() -> None:
    assert len(one_sentence("Internal: " + "long " * 1000)) == 400
