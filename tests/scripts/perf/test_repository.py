from pathlib import Path

import pytest

from scripts.perf.repository import copy_repositories, without_block

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


def test_the_chosen_models_are_copied_with_their_configs_edited(tmp_path: Path) -> None:
    for model in ("wanted", "other"):
        (tmp_path / "models" / model / "1").mkdir(parents=True)
        (tmp_path / "models" / model / "1" / "model.py").write_text("code")
        (tmp_path / "models" / model / "config.pbtxt").write_text(CONFIG)

    (copy,) = copy_repositories([tmp_path / "models"], tmp_path / "copy", {"wanted"}, str.upper)

    assert [path.name for path in copy.iterdir()] == ["wanted"]
    assert (copy / "wanted" / "config.pbtxt").read_text() == CONFIG.upper()
    assert (copy / "wanted" / "1" / "model.py").read_text() == "code"
    assert (tmp_path / "models" / "wanted" / "config.pbtxt").read_text() == CONFIG
