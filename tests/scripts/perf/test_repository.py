from pathlib import Path

import pytest

from scripts.perf.repository import Setting, copy_repositories, with_settings, without_block

CONFIG = """\
name: "a"
dynamic_batching {
  priority_queue_policy { key: 1 value: { max_queue_size: 5 } }
}
response_cache { enable: true }
"""


def test_a_block_is_dropped_with_what_is_nested_in_it() -> None:
    assert without_block(CONFIG, "dynamic_batching") == (
        'name: "a"\nresponse_cache { enable: true }\n'
    )


@pytest.mark.parametrize("block", ["instance_group", "batching"])
def test_a_config_without_the_block_stays_as_it_is(block: str) -> None:
    assert without_block(CONFIG, block) == CONFIG


def upper(model: str, config: str) -> str:
    return config.upper()


def test_the_chosen_models_are_copied_with_their_configs_edited(tmp_path: Path) -> None:
    for model in ("wanted", "other"):
        (tmp_path / "models" / model / "1").mkdir(parents=True)
        (tmp_path / "models" / model / "1" / "model.py").write_text("code")
        (tmp_path / "models" / model / "config.pbtxt").write_text(CONFIG)

    (copy,) = copy_repositories([tmp_path / "models"], tmp_path / "copy", {"wanted"}, upper)

    assert [path.name for path in copy.iterdir()] == ["wanted"]
    assert (copy / "wanted" / "config.pbtxt").read_text() == CONFIG.upper()
    assert (copy / "wanted" / "1" / "model.py").read_text() == "code"
    assert (tmp_path / "models" / "wanted" / "config.pbtxt").read_text() == CONFIG


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("a.max_queue_size=7", "max_queue_size: 7 }"),
        ("a.enable=false", "response_cache { enable: false }"),
        ("a.openvino.NUM_STREAMS=2", 'key: "openvino.NUM_STREAMS" value: { string_value: "2" }'),
    ],
)
def test_a_setting_is_changed_in_its_own_model_only(setting: str, expected: str) -> None:
    edit = with_settings([Setting.parse(setting)])

    assert expected in edit("a", CONFIG)
    assert edit("b", CONFIG) == CONFIG


def test_a_list_is_changed_as_a_whole() -> None:
    setting = Setting.parse("a.preferred_batch_size=[ 16 ]")

    assert setting.apply("preferred_batch_size: [ 4, 8 ]\n") == "preferred_batch_size: [ 16 ]\n"


def test_a_setting_that_the_config_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a/config\.pbtxt has no 'colour' to change"):
        Setting.parse("a.colour=red").apply(CONFIG)


@pytest.mark.parametrize("text", ["", "embedder", "embedder.x", "x=1", "a.b="])
def test_what_is_no_setting_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no setting like embedder"):
        Setting.parse(text)
