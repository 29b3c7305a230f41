"""`scripts/train_chat`: train one of the chat models, score it and export it."""

import argparse
import platform
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
            "Needs the project's `train` extra; the running stack does not. "
            "Measure an exported folder with scripts/evaluate_chat."
        ),
    )
    parser.add_argument("--model", choices=("small", "large"), required=True)
    parser.add_argument("--minutes", type=float, default=40.0, help="time to train (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same data (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's)")
    parser.add_argument(
        "--out", type=Path, required=True, help="gets hugging_face/, openvino/ and checkpoint.pt"
    )
    parser.add_argument("--resume", type=Path, help="start from the weights of this checkpoint.pt")
    parser.add_argument("--skip-short", action="store_true", help="long conversations at once")
    parser.add_argument("--batch-tokens", type=int, default=6144)
    parser.add_argument("--longest", type=int, default=1600, help="tokens in a conversation")
    parser.add_argument("--report-seconds", type=float, default=120.0)
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        import torch  # noqa: PLC0415 (training only)
    except ImportError:
        _say("train_chat: PyTorch is not installed; install the project's `train` extra.")
        return 2
    from .architecture import SIZES, build, count_parameters  # noqa: PLC0415
    from .export import export_hugging_face, export_openvino  # noqa: PLC0415
    from .held_out import draw_held_out  # noqa: PLC0415
    from .tokenizer import train_tokenizer  # noqa: PLC0415
    from .trainer import Plan, score, train  # noqa: PLC0415

    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    tokenizer = train_tokenizer(options.seed)
    size = SIZES[options.model]
    model = build(size, tokenizer)
    if options.resume:
        model.load_state_dict(torch.load(options.resume, map_location="cpu"))
    where = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor()
    _say(
        f"{size.name}: {count_parameters(model):,} parameters, {options.minutes:g} min on "
        f"{options.device} {where} with {torch.get_num_threads()} threads, seed {options.seed}"
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
        short_first=not options.skip_short,
    )
    outcome = train(model, tokenizer, plan, draw_held_out(options.seed, count=60), _say)
    _say(
        f"trained {outcome.steps} steps, {outcome.tokens:,} tokens in "
        f"{outcome.seconds / 60:.1f} min, loss {outcome.loss:.4f}"
    )
    scores = score(model, tokenizer, draw_held_out(options.seed, count=300), options.device)
    _say(scores.table())
    start = time.monotonic()
    export_hugging_face(model, tokenizer, options.out / "hugging_face")
    export_openvino(options.out / "hugging_face", tokenizer, options.out / "openvino")
    _say(f"exported to {options.out} in {time.monotonic() - start:.0f} s")
    return 0
