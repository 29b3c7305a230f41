"""Each broken repository is refused with one sentence that names file and line."""

from pathlib import Path

import pytest

from orchestrator.triton.check import check_repositories
from tests.orchestrator.triton.check.broken import BROKEN, EMBED, LLM, ROUTER, TOPIC
from tests.orchestrator.triton.check.sample import Repositories

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_repository_is_refused_with_file_and_line(
    what: str, repositories: Repositories
) -> None:
    file, old, new, sentences = BROKEN[what]
    repositories.change(file, old, new)
    assert repositories.said() == [s.replace("ROOT", str(repositories.root)) for s in sentences]


def test_a_valid_repository_has_no_problem(repositories: Repositories) -> None:
    assert repositories.said() == []


def test_the_repositories_of_the_project_have_no_problem() -> None:
    paths = [ROOT / "model_repository", ROOT / "ensembles"]
    assert [str(p) for p in check_repositories(paths, ROOT / "backends")] == []


def test_a_step_without_a_cache_ends_the_ensembles_cache(repositories: Repositories) -> None:
    repositories.change(ROUTER, "max_batch_size: 8", "response_cache { enable: true }")
    repositories.change(ROUTER, "response", "max_batch_size: 8\nresponse")
    assert repositories.said() == []
    repositories.change(TOPIC, "response_cache { enable: true }", "")
    assert repositories.said() == [
        f"{ROUTER}:3: has a response cache and step 2 (topic) has none: every step of it needs one"
    ]


def test_steps_that_wait_for_each_other_are_refused(repositories: Repositories) -> None:
    repositories.write(
        "models/blend/config.pbtxt",
        'backend: "python"\nmax_batch_size: 8\n'
        'input [ { name: "A" data_type: TYPE_FP32 dims: 4 },'
        ' { name: "B" data_type: TYPE_FP32 dims: 2 } ]\n'
        'output { name: "C" data_type: TYPE_FP32 dims: 4 }\n',
    )
    repositories.write("models/blend/1/model.py", "class TritonPythonModel: ...\n")
    repositories.change(ROUTER, '"vector" }\n    },', '"raw" }\n    },')
    repositories.change(
        ROUTER,
        "  step [\n",
        '  step [\n    { model_name: "blend"\n      model_version: -1\n'
        '      input_map { key: "A" value: "raw" }\n'
        '      input_map { key: "B" value: "TOPIC" }\n'
        '      output_map { key: "C" value: "vector" } },\n',
    )
    assert repositories.said() == [
        f"{ROUTER}:9: step 1 and 3: waits for what is made from its own output"
    ]


def test_a_model_in_two_repositories_is_refused(repositories: Repositories) -> None:
    repositories.write("ensembles/topic/config.pbtxt", 'backend: "engine"\n')
    repositories.write("ensembles/topic/1/model.py", "")
    assert repositories.said() == [
        f"ensembles/topic/config.pbtxt:1: model 'topic' is also in {repositories.root}/models: "
        "rename one"
    ]


def test_a_folder_without_a_config_is_refused(repositories: Repositories) -> None:
    (repositories.root / LLM).unlink()
    assert repositories.said() == [
        f"{LLM}:1: is missing: every folder of a repository is a model, so "
        f"{repositories.root}/models/llm needs one"
    ]


def test_a_model_without_a_version_is_refused(repositories: Repositories) -> None:
    (repositories.root / "models/llm/1/model.json").unlink()
    (repositories.root / "models/llm/1").rename(repositories.root / "models/llm/01")
    assert repositories.said() == [
        f"{LLM}:1: has no version: make the folder {repositories.root}/models/llm/1",
        f"{LLM}:1: version folder '01' is ignored by Triton: write it without the zero",
    ]


def test_a_missing_model_file_is_refused(repositories: Repositories) -> None:
    (repositories.root / "models/topic/1/model.py").unlink()
    assert repositories.said() == [
        f"{TOPIC}:1: backend 'python' needs {repositories.root}/models/topic/1/model.py, "
        "which does not exist"
    ]


def test_a_model_file_that_is_not_python_is_refused(repositories: Repositories) -> None:
    repositories.write("models/topic/1/model.py", "class TritonPythonModel:\n    def run(:\n")
    assert repositories.said() == ["models/topic/1/model.py:2: is not Python: invalid syntax"]


def test_a_model_file_without_its_class_is_refused(repositories: Repositories) -> None:
    repositories.write("models/topic/1/model.py", "class Model: ...\n")
    assert repositories.said() == [
        "models/topic/1/model.py:1: has no class TritonPythonModel, which Triton looks for"
    ]


def test_engine_arguments_that_are_not_json_are_refused(repositories: Repositories) -> None:
    repositories.change(LLM, '"engine"', '"vllm"')
    repositories.write("models/llm/1/model.json", '{\n  "model": "weights",\n}\n')
    [said] = repositories.said()
    assert said.startswith("models/llm/1/model.json:")
    assert "is not JSON" in said


def test_engine_arguments_without_a_model_are_refused(repositories: Repositories) -> None:
    repositories.change(LLM, '"engine"', '"vllm"')
    repositories.write("models/llm/1/model.json", '{"max_num_seqs": 4}\n')
    assert repositories.said() == [
        'models/llm/1/model.json:1: must be a JSON object of engine arguments with a "model"'
    ]


def test_a_config_that_is_not_utf_8_is_refused(repositories: Repositories) -> None:
    (repositories.root / LLM).write_bytes(b'backend: "\xff"\n')
    assert repositories.said() == [f"{LLM}:1: is not UTF-8: byte 10 is 0xff"]


def test_a_repository_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "models"
    [problem] = check_repositories([missing])
    assert str(problem) == f"{missing}:1: is not a folder: give a model repository"


def test_an_empty_version_folder_of_an_ensemble_is_a_warning(repositories: Repositories) -> None:
    (repositories.root / "ensembles/router/1/.gitkeep").unlink()
    [problem] = repositories.check()
    assert problem.warning
    assert str(problem).endswith("and git keeps no empty folder: put a .gitkeep in it")


def test_every_fault_is_reported_and_not_only_the_first(repositories: Repositories) -> None:
    repositories.change(EMBED, "[ 4, 8 ]", "[ 9, 10 ]")
    repositories.change(LLM, "dims: [ -1 ]", "dims: [ 0 ]")
    repositories.change(ROUTER, '"topic"', '"topics"')
    assert len(repositories.said()) == 4
