"""From a source to a folder that Triton can load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.added_models import ModelError
from orchestrator.added_models.making import Wish
from orchestrator.added_models.room import GIB, Need, check_memory, kv_cache_gib
from orchestrator.added_models.source import Engine
from orchestrator.domain.catalogue import Capability
from orchestrator.triton.check import check_repositories
from tests.orchestrator.added_models.given import (
    ROOT,
    TINY_QWEN2,
    Making,
    change_json,
    copy_of_qwen2,
    entry,
    hugging_face,
    program,
)


@pytest.fixture
def making(tmp_path: Path) -> Making:
    return Making(tmp_path)


def engine_arguments(making: Making, name: str) -> dict[str, object]:
    file = making.store.repository / name / "1" / "model.json"
    arguments: dict[str, object] = json.loads(file.read_text())
    return arguments


def test_an_openvino_folder_becomes_a_valid_model(making: Making) -> None:
    made = making.maker.make(Wish("own", str(TINY_QWEN2)))
    assert check_repositories([making.store.repository], ROOT / "backends") == []
    weights = making.store.repository / "own" / "1" / "openvino"
    assert {path.name for path in weights.iterdir()} == {p.name for p in TINY_QWEN2.iterdir()}
    assert engine_arguments(making, "own")["max_model_len"] == 2048
    assert made.context_tokens == 2048
    assert made.capabilities == set(Capability)
    assert made.tool_format == "hermes"
    assert making.store.names() == []


def test_prices_and_quality_are_those_of_the_model_it_is_like(making: Making) -> None:
    like = entry("llm", input_price=3, output_price=4, max_new_tokens=9, quality={"simple": 0.5})
    made = making.maker.make(Wish("own", str(TINY_QWEN2), like=like))
    assert (made.input_price, made.output_price, made.max_new_tokens) == (3, 4, 9)
    assert made.quality == {"simple": 0.5}
    assert made.context_tokens == 2048


def test_without_a_model_it_is_like_only_who_names_it_gets_it(making: Making) -> None:
    made = making.maker.make(Wish("own", str(TINY_QWEN2)))
    assert made.quality == {}
    assert "only agents that name it" in " ".join(making.said)


def test_a_template_that_knows_no_tools_has_no_tools(making: Making, tmp_path: Path) -> None:
    folder = copy_of_qwen2(tmp_path / "source")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }} tools")
    made = making.maker.make(Wish("own", str(folder)))
    assert made.capabilities == {Capability.CHAT, Capability.STRUCTURED}
    assert "knows no tools" in " ".join(making.said)


def test_a_template_that_does_not_show_its_calls_needs_the_format(
    making: Making, tmp_path: Path
) -> None:
    folder = copy_of_qwen2(tmp_path / "source")
    (folder / "chat_template.jinja").write_text("{{ tools }}{{ messages[0].content }}")
    assert making.maker.make(Wish("one", str(folder))).capabilities == {
        Capability.CHAT,
        Capability.STRUCTURED,
    }
    assert "--tool-format" in " ".join(making.said)
    two = making.maker.make(Wish("two", str(folder), tool_format="hermes"))
    assert Capability.TOOLS in two.capabilities


def test_a_template_in_the_tokenizer_s_config_stays_there(making: Making, tmp_path: Path) -> None:
    folder = copy_of_qwen2(tmp_path / "source", without=("chat_template.jinja",))
    templates = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    change_json(folder / "tokenizer_config.json", chat_template=templates)
    making.maker.make(Wish("own", str(folder)))
    assert not list(making.store.repository.glob("own/1/*/chat_template.jinja"))


def test_a_given_template_is_used(making: Making, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("mine")
    making.maker.make(Wish("own", str(TINY_QWEN2), chat_template=file))
    (written,) = making.store.repository.glob("own/1/*/chat_template.jinja")
    assert written.read_text() == "mine"


def test_a_longer_context_than_asked_for_is_not_taken(making: Making) -> None:
    made = making.maker.make(Wish("own", str(TINY_QWEN2), context=512))
    assert made.context_tokens == 512
    assert engine_arguments(making, "own")["max_model_len"] == 512


def test_a_very_long_context_is_cut_and_that_is_said(making: Making, tmp_path: Path) -> None:
    folder = copy_of_qwen2(tmp_path / "source")
    change_json(folder / "config.json", max_position_embeddings=131_072)
    assert making.maker.make(Wish("own", str(folder))).context_tokens == 8192
    assert "8192 of the model's 131072 tokens; --context" in " ".join(making.said)


def test_vllm_gets_the_hugging_face_folder_by_its_path(making: Making, tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "source")
    making.maker.make(Wish("own", str(source), engine=Engine.VLLM))
    weights = making.store.repository / "own" / "1" / "hugging_face"
    assert engine_arguments(making, "own") == {"model": str(weights), "max_model_len": 2048}
    assert (weights / "model.safetensors").read_bytes() == b"weights"
    config = (making.store.repository / "own" / "config.pbtxt").read_text()
    assert 'backend: "vllm"' in config
    assert "KIND_MODEL" in config


def test_a_hugging_face_folder_is_converted_where_the_program_is(
    making: Making, tmp_path: Path
) -> None:
    seen = tmp_path / "arguments"
    program(
        making.home / "convert" / "bin" / "optimum-cli",
        f'echo "$@" > {seen}; for last; do :; done; cp {TINY_QWEN2}/* "$last"',
    )
    source = hugging_face(tmp_path / "source")
    making.maker.make(Wish("own", str(source), precision="int4"))
    assert check_repositories([making.store.repository], ROOT / "backends") == []
    assert "--weight-format int4" in seen.read_text()
    assert (making.store.repository / "own" / "1" / "openvino" / "openvino_model.bin").exists()


def test_a_missing_tokenizer_is_converted_where_the_program_is(
    making: Making, tmp_path: Path
) -> None:
    program(
        making.home / "convert" / "bin" / "convert_tokenizer",
        f'for last; do :; done; cp {TINY_QWEN2}/openvino_*tokenizer.* "$last"',
    )
    missing = [path.name for path in TINY_QWEN2.glob("openvino_*tokenizer.*")]
    source = copy_of_qwen2(tmp_path / "source", without=tuple(missing))
    making.maker.make(Wish("own", str(source)))
    weights = making.store.repository / "own" / "1" / "openvino"
    assert all((weights / name).is_file() for name in missing)
    assert sorted(path.name for path in source.glob("openvino_*")) == [
        "openvino_model.bin",
        "openvino_model.xml",
    ]


def refused(making: Making, source: Path | str, **wish: object) -> str:
    """Why it is; nothing of it may be left."""
    with pytest.raises(ModelError) as error:
        making.maker.make(Wish("own", str(source), **wish))  # type: ignore[arg-type]
    assert making.left() == []
    return str(error.value)


def test_without_the_program_it_is_said_what_to_run(
    making: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = refused(making, hugging_face(tmp_path / "source"))
    assert "needs optimum-cli" in said
    assert f"python3 -m venv {making.home / 'convert'}" in said


def test_a_conversion_that_fails_leaves_nothing(making: Making, tmp_path: Path) -> None:
    program(making.home / "convert" / "bin" / "optimum-cli", "echo why >&2; exit 3")
    assert "exit code 3" in refused(making, hugging_face(tmp_path / "source"))


def test_a_folder_without_a_model_is_refused_with_what_it_needs(
    making: Making, tmp_path: Path
) -> None:
    assert "openvino_model.xml" in refused(making, tmp_path)
    assert "is not a folder here" in refused(making, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("config.json", "architecture"),
        ("tokenizer.json", "AutoTokenizer"),
        ("tokenizer_config.json", "special tokens"),
        ("openvino_model.bin", "weights"),
        ("chat_template.jinja", "--chat-template FILE"),
    ],
)
def test_a_missing_file_is_named(making: Making, tmp_path: Path, without: str, says: str) -> None:
    said = refused(making, copy_of_qwen2(tmp_path / "source", without=(without,)))
    assert without in said
    assert says in said


def test_a_pointer_of_git_lfs_is_recognised(making: Making, tmp_path: Path) -> None:
    folder = copy_of_qwen2(tmp_path / "source")
    (folder / "openvino_model.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "git lfs pull" in refused(making, folder)


def test_openvino_s_form_is_nothing_for_vllm(making: Making) -> None:
    assert "vllm can't read" in refused(making, TINY_QWEN2, engine=Engine.VLLM)


def test_more_context_than_the_model_has_is_refused(making: Making) -> None:
    assert "2048 tokens at most" in refused(making, TINY_QWEN2, context=4096)


def test_a_model_without_a_length_is_refused(making: Making, tmp_path: Path) -> None:
    folder = copy_of_qwen2(tmp_path / "source")
    change_json(folder / "config.json", max_position_embeddings=None)
    assert "max_position_embeddings" in refused(making, folder)


def test_a_model_that_does_not_fit_is_refused_with_the_sizes() -> None:
    need = Need(weights_bytes=8 * GIB, kv_cache_bytes=2 * GIB)
    check_memory(need, 13 * GIB)
    with pytest.raises(ModelError, match=r"8\.0 GiB of weights, 2\.0 GiB of KV cache.*9\.0 GiB"):
        check_memory(need, 9 * GIB)


def test_the_cache_holds_one_conversation_of_full_length() -> None:
    assert kv_cache_gib(8192, 128 * 1024) == 1
    assert kv_cache_gib(8193, 128 * 1024) == 2
    assert kv_cache_gib(8192, None) == 1
