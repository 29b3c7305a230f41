import json
from pathlib import Path

import pytest

from backends.llm_serving.errors import SettingsError
from backends.vllm.settings import VllmServing, engine_environment, load_model


def written(folder: Path, **files: object) -> Path:
    for name, value in files.items():
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / f"{name}.json").write_text(text)
    return folder


def test_the_engine_arguments_are_passed_through_and_the_rest_has_defaults(tmp_path: Path) -> None:
    model = load_model(written(tmp_path, model={"model": "org/name", "max_model_len": 512}))
    assert model.engine_args == {"model": "org/name", "max_model_len": 512}
    assert model.serving == VllmServing()
    assert model.loras == {}


def test_a_folder_of_the_version_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "hugging_face").mkdir()
    model = load_model(written(tmp_path, model={"model": "hugging_face"}))
    assert model.engine_args["model"] == str(tmp_path / "hugging_face")
    assert engine_environment(model)["HF_HUB_OFFLINE"] == "1"


def test_a_name_is_left_to_vllm_and_may_be_fetched(tmp_path: Path) -> None:
    model = load_model(written(tmp_path, model={"model": "org/name"}))
    assert "HF_HUB_OFFLINE" not in engine_environment(model)


def test_serving_is_read_and_its_variables_win(tmp_path: Path) -> None:
    serving = {
        "coalescing": {"max_delay_ms": 5},
        "drain_timeout_s": 1,
        "environment": {"VLLM_LOGGING_LEVEL": "INFO"},
    }
    model = load_model(written(tmp_path, model={"model": "org/name"}, serving=serving))
    assert model.serving.coalescing.max_delay_ms == 5.0
    assert engine_environment(model)["VLLM_LOGGING_LEVEL"] == "INFO"


def test_adapters_are_named_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "adapters" / "french").mkdir(parents=True)
    loras = {"french": "adapters/french", "hub": "org/adapter"}
    arguments = {"model": "org/name", "enable_lora": "true"}
    model = load_model(written(tmp_path, model=arguments, multi_lora=loras))
    assert model.loras == {"french": str(tmp_path / "adapters/french"), "hub": "org/adapter"}


def test_adapters_count_only_when_they_are_enabled(tmp_path: Path) -> None:
    files = {"model": {"model": "org/name"}, "multi_lora": {"french": "x"}}
    assert load_model(written(tmp_path, **files)).loras == {}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"model\.json is missing; it holds vLLM's engine arguments"),
        ({"model": "{"}, "is not JSON"),
        ({"model": "[]"}, "must be a JSON object"),
        ({"model": {}}, "'model' must be a folder or a name"),
        ({"model": {"model": "a", "enable_lora": True}}, r"multi_lora\.json is missing"),
        (
            {"model": {"model": "a", "enable_lora": True}, "multi_lora": {"b": 1}},
            "'b' must be a folder or a name",
        ),
        ({"model": {"model": "a"}, "serving": {"niceness": 20}}, "from 0 to 19, not 20"),
        ({"model": {"model": "a"}, "serving": {"model": "b"}}, "unknown key 'model'"),
        ({"model": {"model": "a"}, "serving": {"environment": {"X": 1}}}, "'X' must be a string"),
    ],
)
def test_wrong_files_stop_the_load_with_a_sentence(
    tmp_path: Path, files: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load_model(written(tmp_path, **files))
