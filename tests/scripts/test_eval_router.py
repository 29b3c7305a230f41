import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.triton import TritonConnection, TritonRouter
from orchestrator.cli.demo_turns import TURNS
from scripts.router_evaluation.__main__ import read_catalogue
from scripts.router_evaluation.curve import Curve, Floats, NoGapError, auroc, curve
from scripts.router_evaluation.mixes import MIXES, mix_weights
from scripts.router_evaluation.own_file import InvalidTaskError, read_tasks
from scripts.router_evaluation.routed import classify_here, route
from scripts.router_evaluation.tasks import CATEGORIES, draw_tasks
from scripts.router_training.desk import draw_training_tasks
from scripts.router_training.wording import wording
from tests.conftest import RunningTriton

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"


def floats(*values: float) -> Floats:
    return np.array(values, np.float64)


def routed_by(needs: Floats, *, hard: int = 2, easy: int = 8) -> Curve:
    """Both models do the easy tasks, which come first, and only the large one the hard ones."""
    small = np.repeat([1.0, 0.0], [easy, hard])
    return curve(needs, small, np.ones(easy + hard), np.ones(easy + hard))


def eval_router(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.router_evaluation", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    )
    return path


def test_a_perfect_router_loses_only_half_of_what_must_be_large() -> None:
    perfect = routed_by(np.repeat([0.0, 1.0], [8, 2]))

    assert perfect.apgr == pytest.approx(1 - 0.2 / 2)
    assert perfect.cpt(0.5) == pytest.approx(0.1)
    assert perfect.cpt(0.8) == pytest.approx(0.16)


def test_a_router_that_knows_nothing_is_the_coin() -> None:
    coin = routed_by(np.zeros(10))

    assert coin.apgr == pytest.approx(0.5)
    assert coin.cpt(0.8) == pytest.approx(0.8)
    assert coin.quality_at(0.25) == pytest.approx(0.85)


def test_a_router_that_is_always_wrong_recovers_what_the_perfect_one_loses() -> None:
    wrong = routed_by(np.repeat([1.0, 0.0], [8, 2]))

    assert wrong.apgr == pytest.approx(0.2 / 2)
    assert wrong.cpt(0.5) == pytest.approx(0.9)


def test_a_task_that_only_the_small_model_does_costs_quality() -> None:
    """PGR may be above 1: the best way is better than the large model alone."""
    both = curve(floats(2, 1, 0), floats(0, 1, 1), floats(1, 1, 0.5), np.ones(3))

    assert both.recovered == pytest.approx([0, 2, 2, 1])
    assert both.share_for(0.95) == pytest.approx((0.95 * 2.5 - 2) / 3)


def test_weights_count_a_task_as_several() -> None:
    weighed = curve(floats(1, 0), floats(0, 1), floats(1, 1), floats(1, 3))
    repeated = curve(floats(1, 0, 0, 0), floats(0, 1, 1, 1), np.ones(4), np.ones(4))

    assert weighed.apgr == pytest.approx(repeated.apgr)
    assert weighed.small == pytest.approx(0.75)


def test_a_large_model_that_is_no_better_leaves_no_gap() -> None:
    with pytest.raises(NoGapError, match=r"the large model's score is 0\.500 and the small one's"):
        _ = curve(floats(1, 0), floats(1, 0), floats(0, 1), np.ones(2)).apgr


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.booleans(), st.booleans()), min_size=1)
)
def test_no_router_is_better_than_the_oracle(tasks: list[tuple[float, bool, bool]]) -> None:
    needs, small, large = (np.array(column, np.float64) for column in zip(*tasks, strict=True))
    weights = np.ones(len(tasks))
    routed = curve(needs, small, large, weights)
    oracle = curve(large - small, small, large, weights)
    for share, quality in zip(routed.shares, routed.qualities, strict=True):
        assert quality <= oracle.quality_at(float(share)) + 1e-9
    assert (routed.small, routed.large) == pytest.approx((oracle.small, oracle.large))


def test_auroc_is_the_chance_to_tell_right_from_wrong() -> None:
    right = np.array([True, True, False, False])

    assert auroc(floats(4, 3, 2, 1), right, np.ones(4)) == 1.0
    assert auroc(floats(4, 1, 3, 1), right, np.ones(4)) == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert auroc(floats(4, 1, 3, 1), right, floats(1, 0, 1, 1)) == 1.0


def test_held_out_tasks_have_no_text_of_training_and_half_have_new_wordings() -> None:
    texts = {task.text for task in draw_training_tasks(3000)}
    wordings = {wording(text) for text in texts}

    drawn = draw_tasks(110, seed=5, texts=texts, wordings=wordings)

    asked = [one.task.text for one in drawn]
    assert not texts & {*asked}
    assert len({*asked}) == len(asked) == 110
    assert {one.task.category for one in drawn} == {*CATEGORIES}
    new = [one.task.text for one in drawn if one.new_wording]
    assert len(new) == 55
    assert not wordings & {wording(text) for text in new}


def test_a_mix_is_met_however_many_tasks_of_a_kind_there_are() -> None:
    weights = mix_weights(["chat", "time", "time", "chain"], MIXES["demo"])

    assert weights.tolist() == [2, 0.5, 0.5, 0]


def test_what_was_scored_elsewhere_needs_no_model(tmp_path: Path) -> None:
    hard = {"prompt": "And twice that, and its price?", "small": 0, "large": 1, "confidence": 0.4}
    easy = {"prompt": "What is 12 * 3?", "small": 1, "large": 1, "confidence": 0.9, "weight": 3}
    tasks = write_lines(tmp_path / "own.jsonl", easy, hard)

    finished = eval_router(tasks, "--json", "--plot", tmp_path / "own.png")

    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    assert found["apgr"] == pytest.approx(1 - 0.25 / 2)
    assert found["small"] == pytest.approx(0.75)
    assert found["cascade"]["auroc"] == 1.0
    assert found["cascade"]["share"] == pytest.approx(0.25)
    assert (tmp_path / "own.png").read_bytes().startswith(b"\x89PNG")


def test_a_few_tasks_are_answered_by_both_models_and_checked(tmp_path: Path) -> None:
    call = {"name": "calculator", "arguments": {"expression": "437 * 12"}}
    time = {"name": "current_time", "arguments": {"timezone": "Europe/Paris"}}
    added = {"name": "calculator", "arguments": {"expression": "12 + 30"}}
    tasks = write_lines(
        tmp_path / "own.jsonl",
        {"prompt": "What is 437 * 12?", "expected": {"calls": [call]}},
        {"prompt": "Hello!", "expected": {"text": "Hello! How can I help you?"}},
        {
            "prompt": "What is 12 + 30 and what time is it in Paris?",
            "expected": {"calls": [added, time]},
            "kind": "two",
        },
    )

    finished = eval_router(tasks, "--json")

    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    assert (found["small"], found["large"]) == (pytest.approx(2 / 3), 1.0)
    assert found["apgr"] == pytest.approx(1 - 1 / 3 / 2)
    prices = found["micros_per_1000"]
    assert (
        prices["small"]
        < prices["policy"]
        <= prices["large"]
        == pytest.approx(10 * prices["small"], rel=0.2)
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", r":2: not JSON in UTF-8"),
        ("[]", r":2: want a JSON object, found list"),
        ({"small": 1, "large": 1}, r":2: prompt must be a text that is not blank, not None"),
        ({"prompt": "a", "small": 1}, r":2: large must be a number from 0 to 1, not None"),
        ({"prompt": "a", "small": 2, "large": 1}, r":2: small must be a number from 0 to 1"),
        ({"prompt": "a"}, r":2: want the scores small and large, or expected with"),
        ({"prompt": "a", "expected": {"calls": ["x"]}}, r":2: expected\.calls must be a list"),
        ({"prompt": "a", "score": 1}, r":2: unknown field 'score'; known are confidence"),
        ({"prompt": "a", "expected": {"text": "b"}}, r"small and large in all lines or in none"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(
    tmp_path: Path, line: object, reason: str
) -> None:
    tasks = write_lines(tmp_path / "own.jsonl", {"prompt": "hi", "small": 1, "large": 1}, line)

    with pytest.raises(InvalidTaskError, match=reason):
        read_tasks(tasks)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["absent.jsonl"], "absent.jsonl"),
        (["--large", "gpt-9"], "no model 'gpt-9'; its models are: llm_small, llm_large"),
    ],
)
def test_what_is_missing_is_one_sentence(arguments: list[str], reason: str) -> None:
    finished = eval_router(*arguments)

    assert finished.returncode == 1
    assert reason in finished.stderr
    assert "Traceback" not in finished.stderr


async def test_the_heads_say_here_what_the_ensemble_says(triton: RunningTriton) -> None:
    texts = ["What is 437 * 12?", "And twice that?", "Draft a plan to move to another cloud."]

    here = classify_here(texts, REPOSITORY)

    async with TritonConnection(triton.grpc_url) as connection:
        served = await TritonRouter(connection).classify(texts)
    for mine, theirs in zip(here, served, strict=True):
        assert theirs.complexity == pytest.approx(mine.complexity, abs=0.02)
        assert theirs.task == pytest.approx(mine.task, abs=0.02)


def test_the_demo_s_questions_go_to_the_cheapest_that_can() -> None:
    questions = [turn.question for turn in TURNS]
    hard = {turn.question for turn in TURNS if turn.parallel or turn.question == "And twice that?"}
    names = "llm_small", "llm_large"
    catalogue = read_catalogue(ROOT / "orchestrator" / "defaults" / "catalogue.toml", names)

    routed = [
        route(question, found, catalogue, *names)
        for question, found in zip(questions, classify_here(questions, REPOSITORY), strict=True)
    ]

    to_large = {text for text, one in zip(questions, routed, strict=True) if one.to_large}
    assert to_large >= hard
    assert len(to_large) <= len(hard) + 1
