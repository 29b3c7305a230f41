"""Kills, pauses and cuts the service under load, and checks that it kept its promises.

Each trial has a Redis of its own, real worker, toolbox and api processes over a scripted model,
and a ledger of effects outside of them. Exits with 1 when an invariant breaks.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from orchestrator.redis_server import RedisServerError, find_program
from scripts.chaos_trials.ground import Conditions
from scripts.chaos_trials.load import Unfinished
from scripts.chaos_trials.orders import Breakage
from scripts.chaos_trials.outcome import Outcome, table, verdict
from scripts.chaos_trials.trials import TRIALS

ROOT = Path(__file__).parents[2]
NO_SERVER = 2
SHOWN = 5  # problems of a trial; --json has all


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    parser.add_argument(
        "--only", action="append", choices=list(TRIALS), help="run this trial; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=None, help="of the plan of harm; else drawn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the outcomes there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and data there")
    parser.add_argument(
        "--break",
        dest="breakage",
        choices=[each.value for each in Breakage if each],
        default="",
        help="break the service on purpose: the run must then fail",
    )
    return parser.parse_args()


async def trial(name: str, conditions: Conditions) -> Outcome:
    began = time.monotonic()
    outcome = Outcome(name)
    try:
        await TRIALS[name](conditions, outcome)
    except Unfinished as error:
        outcome.problems.append(str(error))
    except Exception as error:  # noqa: BLE001 - a trial that breaks off has shown nothing
        traceback.print_exc()
        outcome.problems.append(f"the trial broke off: {type(error).__name__}: {error}")
    outcome.seconds = time.monotonic() - began
    return outcome


async def run(asked: argparse.Namespace, seed: int, folder: Path) -> list[Outcome]:
    conditions = Conditions(
        quick=asked.quick,
        seed=seed,
        folder=folder,
        program=find_program(extracted=ROOT / ".fleet" / "redis"),
        say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
        breakage=Breakage(asked.breakage),
    )
    outcomes: list[Outcome] = []
    for name in asked.only or TRIALS:
        outcome = await trial(name, conditions)
        state = "BROKEN" if outcome.problems else "hold"
        print(f"{name}: invariants {state}, {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
        for problem in outcome.problems[:SHOWN]:
            print(f"  {problem}", file=sys.stderr, flush=True)
        if len(outcome.problems) > SHOWN:
            print(f"  and {len(outcome.problems) - SHOWN} more", file=sys.stderr, flush=True)
        outcomes.append(outcome)
    return outcomes


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A new folder, so that no trial finds another's data."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(dir=keep))
        return
    with tempfile.TemporaryDirectory(prefix="chaos_") as scratch:
        yield Path(scratch)


def main() -> int:
    asked = parse()
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    with _folder(asked.keep) as folder:
        try:
            outcomes = uvloop.run(run(asked, seed, folder))
        except RedisServerError as error:
            print(f"chaos: {error}", file=sys.stderr)
            return NO_SERVER
    if asked.json:
        found = {"seed": seed, "quick": asked.quick, "trials": [o.to_json() for o in outcomes]}
        asked.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(table(outcomes))
    print(verdict(outcomes))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
