import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from backends.classifier.head import Head
from scripts.chat_training.engine import Engine
from scripts.chat_training.held_out import BEYOND_SMALL
from scripts.router_training.__main__ import DATA, embed
from scripts.router_training.desk import draw_training_tasks, label
from scripts.router_training.evaluation import calibration_error, evaluate
from scripts.router_training.requests import (
    HEADS,
    HELD_OUT,
    LABEL_ORDER,
    NEW_PHRASING,
    TRAIN,
    InvalidDataError,
    load_requests,
)
from scripts.router_training.training import Rows, fit_head
from scripts.router_training.wording import is_held_out, wording

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"
GOOD = {"text": "hello", "task": "conversation", "complexity": "simple", "risk": "low"}


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    )
    return path


def copy_repository(target: Path) -> Path:
    for head in HEADS:
        name = f"{head}_classifier"
        (target / name).mkdir(parents=True)
        shutil.copyfile(REPOSITORY / name / "config.pbtxt", target / name / "config.pbtxt")
    return target


def train_router(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.router_training", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_a_file_of_one_s_own_is_trained_on_reported_and_written(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    data = write_lines(tmp_path / "own.jsonl", *lines[::9])
    repository = copy_repository(tmp_path / "repository")

    finished = train_router("--data", data, "--model-repository", repository, "--json")

    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout.splitlines()[-1])
    splits = Counter(line["split"] for line in lines[::9])
    for head in HEADS:
        assert {split: report[head][split]["rows"] for split in splits} == splits
        confusion = np.array(report[head][HELD_OUT]["confusion"])
        assert confusion.sum() == splits[HELD_OUT]
        assert np.trace(confusion) / confusion.sum() == pytest.approx(
            report[head][HELD_OUT]["accuracy"]
        )
        labels = (repository / f"{head}_classifier" / "labels.txt").read_text().split()
        assert labels == list(LABEL_ORDER[head])
        assert Head.load(repository / f"{head}_classifier" / "1").bias.shape == (len(labels),)
    assert "calibration error" in finished.stdout


def test_the_committed_heads_know_requests_they_were_not_trained_on() -> None:
    requests = load_requests(DATA)
    for split, floor in ((HELD_OUT, 0.80), (NEW_PHRASING, 0.70)):
        part = [request for request in requests if request.split == split]
        embeddings = embed([request.text for request in part], REPOSITORY / "embedder" / "1")
        for name in HEADS:
            head = Head.load(REPOSITORY / f"{name}_classifier" / "1")
            labels = (REPOSITORY / f"{name}_classifier" / "labels.txt").read_text().split()
            targets = np.array([labels.index(request.labels[name]) for request in part])
            result = evaluate(head.probabilities(embeddings), targets)
            assert result.accuracy > floor, (split, name)
            assert result.calibration_error < 0.2, (split, name)


def test_no_phrasing_family_of_new_phrasing_is_trained_on() -> None:
    requests = load_requests(DATA)

    families = {
        split: {request.family for request in requests if request.split == split}
        for split in (TRAIN, NEW_PHRASING)
    }

    assert families[TRAIN].isdisjoint(families[NEW_PHRASING])


def test_without_a_split_one_text_in_five_is_held_out(tmp_path: Path) -> None:
    lines = [GOOD | {"text": f"hello number {n}"} for n in range(1000)]

    requests = load_requests(write_lines(tmp_path / "own.jsonl", *lines))

    held_out = sum(request.split == HELD_OUT for request in requests)
    assert 150 < held_out < 250


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", r":2: not JSON in UTF-8"),
        ("[]", r":2: want a JSON object, found list"),
        (GOOD | {"text": " "}, r":2: text must be a string that is not blank; found ' '"),
        ({"text": "b", "task": "code", "risk": "low"}, r":2: complexity .* it is missing"),
        (GOOD | {"text": "b", "split": "test"}, r":2: split is 'test', want one of train"),
        (GOOD | {"text": "b", "lable": "x"}, r":2: unknown field 'lable'"),
        (GOOD, r":2: the same text as line 1: 'hello'"),
        (GOOD | {"text": "b", "split": "train"}, r"no request in the split 'held_out'"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(
    tmp_path: Path, line: object, reason: str
) -> None:
    data = write_lines(tmp_path / "own.jsonl", GOOD | {"split": "train"}, line)

    with pytest.raises(InvalidDataError, match=reason):
        load_requests(data)


def test_labels_that_the_model_has_no_room_for_are_refused_before_training(
    tmp_path: Path,
) -> None:
    data = write_lines(
        tmp_path / "own.jsonl",
        GOOD | {"split": "train"},
        GOOD | {"text": "sing", "task": "music", "split": "held_out"},
    )

    finished = train_router("--data", data)

    assert finished.returncode == 1
    assert "the data has 2 task labels (conversation, music)" in finished.stderr
    assert "dims [6]; set 2 there and for TASK" in finished.stderr


def test_a_file_that_is_not_there_is_one_sentence() -> None:
    finished = train_router("--data", "absent.jsonl")

    assert finished.returncode == 1
    assert "absent.jsonl" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_head_learns_what_can_be_separated_and_is_the_same_every_time() -> None:
    generator = np.random.default_rng(3)
    targets = generator.integers(0, 3, 120)
    points = np.eye(8)[targets] + generator.normal(scale=0.1, size=(120, 8))
    families = [str(place % 30) for place in range(120)]
    rows = Rows(points.astype(np.float32), targets, families, np.ones(120))

    first, second = (fit_head(rows, 3) for _ in range(2))

    assert (first.probabilities(rows.embeddings).argmax(axis=1) == targets).all()
    assert np.array_equal(first.hidden_weights, second.hidden_weights)
    assert first.temperature == second.temperature


def test_a_row_without_weight_teaches_nothing() -> None:
    targets = np.array([0, 1] * 40)
    points = np.eye(4, dtype=np.float32)[targets]
    misled = np.concatenate([targets, 1 - targets])
    families = [str(place % 20) for place in range(160)]
    weights = np.repeat([1.0, 0.0], 80)

    head = fit_head(Rows(np.concatenate([points, points]), misled, families, weights), 2)

    assert (head.probabilities(points).argmax(axis=1) == targets).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 3 plus 19.5?", "hi, what's 77 plus 1 please"),
        ("Where is order A1042?", "where is order #2077"),
        ("What time is it in New York?", "What time is it in Paris"),
        ("How many feet are 7 miles?", "how many grams are 12 lb, thanks"),
        ("tell me about a desk lamp", "Tell me about a usb hub."),
    ],
)
def test_questions_that_differ_in_what_they_name_have_one_wording(one: str, other: str) -> None:
    assert wording(one) == wording(other)


def test_no_held_out_wording_of_the_desk_is_trained_on() -> None:
    drawn = draw_training_tasks(400)

    assert not [task.text for task in drawn if is_held_out(wording(task.text))]
    beyond = sum(task.category in BEYOND_SMALL for task in drawn)
    assert (len(drawn), beyond) == (400, 200)


def test_what_the_small_model_does_not_do_is_moderate() -> None:
    small = Engine(REPOSITORY / "llm_small" / "1" / "openvino")
    tasks = draw_training_tasks(60)

    labelled = label(tasks, small)

    moderate = {one.text for one in labelled if one.labels["complexity"] == "moderate"}
    assert moderate >= {task.text for task in tasks if task.category in BEYOND_SMALL}
    assert len(moderate) < 45


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.array([0.95, 0.95, 0.65, 0.65])
    correct = np.array([True, True, True, False])

    assert calibration_error(confidence, correct) == pytest.approx(0.5 * 0.05 + 0.5 * 0.15)
