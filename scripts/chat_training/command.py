"""`scripts/train_chat`: train one of the chat models, score it and export it."""

import argparse
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/train_chat",
        description=(
            "Trains a small Llama-architecture chat model that calls tools, on conversations made "
            "from the seed, and exports it as a Hugging Face folder and as an OpenVINO IR folder. "
            "Needs the environment of scripts/chat_training/requirements.txt; the running "
            "stack does not. "
            "Measure an exported folder with scripts/evaluate_chat."
        ),
    )
    parser.add_argument("--model", choices=("small", "large"), required=True)
    parser.add_argument("--minutes", type=float, default=40.0, help="time to train (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same data (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each (default 1)")
    parser.add_argument(
        "--out", type=Path, required=True, help="gets hugging_face/, openvino/ and checkpoint.pt"
    )
    parser.add_argument(
        "--resume", type=Path, help="go on from this checkpoint.pt, with whole conversations"
    )
    parser.add_argument(
        "--grow",
        type=Path,
        help="start from a smaller model's checkpoint.pt, made wider and deeper",
    )
    parser.add_argument("--batch-tokens", type=int, default=6144)
    parser.add_argument("--longest", type=int, default=1600, help="tokens in a conversation")
    parser.add_argument("--rate", type=float, default=1.0, help="part of the usual learning rate")
    parser.add_argument("--report-seconds", type=float, default=120.0)
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


def _say_nothing(_line: str) -> None:
    """What every worker but the first says."""


def _work(rank: int, options: argparse.Namespace, meeting_file: Path) -> None:
    import torch  # noqa: PLC0415 (training only)

    from .architecture import SIZES, build, count_parameters  # noqa: PLC0415
    from .export import export_hugging_face, export_openvino  # noqa: PLC0415
    from .growth import grow  # noqa: PLC0415
    from .held_out import BEYOND_SMALL, draw_held_out  # noqa: PLC0415
    from .tokenizer import load_tokenizer, train_tokenizer  # noqa: PLC0415
    from .trainer import Plan, score, train  # noqa: PLC0415
    from .workers import Workers  # noqa: PLC0415

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    workers = Workers.join(rank, options.workers, meeting_file)
    say = _say if workers.leads else _say_nothing
    start_from = options.resume or options.grow
    tokenizer = load_tokenizer(start_from.parent) if start_from else train_tokenizer(options.seed)
    if workers.leads:
        tokenizer.save(str(options.out / "tokenizer.json"))
    size = SIZES[options.model].at_rate(options.rate)
    model = build(size, tokenizer)
    if options.resume:
        model.load_state_dict(torch.load(options.resume, map_location="cpu"))
    if options.grow:
        narrow = torch.load(options.grow, map_location="cpu")
        model.load_state_dict(grow(narrow, layers=size.layers, seed=options.seed))
    where = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine()
    say(
        f"{size.name}: {count_parameters(model):,} parameters, {options.minutes:g} min on "
        f"{options.device} ({where}), {options.workers} processes, seed {options.seed}"
    )
    plan = Plan(
        size=size,
        minutes=options.minutes,
        seed=options.seed,
        device=options.device,
        batch_tokens=options.batch_tokens,
        longest=options.longest,
        report_every_s=options.report_seconds,
        checkpoint=options.out / "checkpoint.pt",
        unlearned=BEYOND_SMALL if options.model == "small" else frozenset(),
        from_nothing=start_from is None,
    )
    watched = draw_held_out(options.seed, count=30, exchanges=2)
    outcome = train(model, tokenizer, plan, watched, workers=workers, say=say)
    workers.leave()
    if not workers.leads:
        return
    say(
        f"trained {outcome.steps} steps, {outcome.tokens:,} tokens in "
        f"{outcome.seconds / 60:.1f} min, loss {outcome.loss:.4f}"
    )
    say(score(model, tokenizer, draw_held_out(options.seed, count=100), options.device).table())
    start = time.monotonic()
    export_hugging_face(model, tokenizer, options.out / "hugging_face")
    export_openvino(options.out / "hugging_face", tokenizer, options.out / "openvino")
    say(f"exported to {options.out} in {time.monotonic() - start:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        from torch import multiprocessing  # noqa: PLC0415 (training only)
    except ImportError:
        _say(
            "train_chat: PyTorch is not installed here; once: python3 -m venv .fleet/train && "
            ".fleet/train/bin/pip install -r scripts/chat_training/requirements.txt; "
            "then .fleet/train/bin/python scripts/train_chat …"
        )
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    if options.workers == 1:
        _work(0, options, Path())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        meeting_file = Path(folder) / "meeting"
        multiprocessing.spawn(_work, args=(options, meeting_file), nprocs=options.workers)
    return 0
