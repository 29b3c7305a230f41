from pathlib import Path

import pytest

from backends.llm_serving.errors import SettingsError
from backends.openvino_genai.settings import NEEDED_FILES, Settings, load_settings


def written(folder: Path, text: str, *, model: bool = True) -> Path:
    (folder / "model.json").write_text(text)
    if model:
        (folder / "openvino").mkdir()
        for name in NEEDED_FILES:
            (folder / "openvino" / name).touch()
    return folder


def test_a_short_file_means_the_defaults(tmp_path: Path) -> None:
    settings, folder = load_settings(written(tmp_path, '{"model": "openvino"}'))
    assert settings == Settings(model="openvino")
    assert folder == tmp_path / "openvino"


def test_sections_are_read(tmp_path: Path) -> None:
    text = """{"model": "openvino", "max_model_len": 512, "properties": {"X": "y"},
      "scheduler": {"cache_size": 2}, "coalescing": {"max_delay_ms": 5}, "drain_timeout_s": 1}"""
    settings, _ = load_settings(written(tmp_path, text))
    assert settings.max_model_len == 512
    assert settings.scheduler.cache_size == 2
    assert settings.coalescing.max_delay_ms == 5.0
    assert settings.properties == {"X": "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "needs model$"),
        ('{"model": "openvino", "modle": 1}', "unknown key 'modle'; known are .*model"),
        ('{"model": 3}', "'model' must be a string, not 3"),
        ('{"model": "openvino", "device": null}', "'device' must be a string, not null"),
        ('{"model": "openvino", "max_model_len": "9"}', "'max_model_len' must be an integer"),
        ('{"model": "openvino", "scheduler": {"cache_size": 0}}', "'cache_size' must be at least"),
        ('{"model": "openvino", "scheduler": {"seqs": 1}}', "'scheduler': unknown key 'seqs'"),
        ('{"model": "openvino", "properties": []}', "'properties' must be a JSON object"),
        ('{"model": "openvino", "when_engine_is_lost": "cry"}', "must be exit or unload, not cry"),
        ('{"model": "elsewhere"}', "which does not exist"),
    ],
)
def test_a_wrong_file_stops_the_load_with_a_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"model\.json is missing"):
        load_settings(tmp_path)


def test_a_folder_without_a_model_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    folder = written(tmp_path, '{"model": "openvino"}')
    (folder / "openvino" / "openvino_tokenizer.xml").unlink()
    with pytest.raises(SettingsError, match=r"lacks openvino_tokenizer\.xml"):
        load_settings(folder)
