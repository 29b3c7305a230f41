"""The figures as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.router_evaluation.measured import Measured


def kinds(categories: Sequence[str], measured: Measured) -> str:
    """One line a kind: what both models do, and what the policy sends where."""
    lines = [f"{'kind':<14}{'tasks':>7}{'small':>9}{'large':>9}{'to large':>10}{'need':>8}"]
    for name in dict.fromkeys(categories):
        part = measured.part(np.array([category == name for category in categories]))
        lines.append(
            f"{name:<14}{len(part.need):>7}{part.small.mean():>9.1%}{part.large.mean():>9.1%}"
            f"{part.to_large.mean():>10.0%}{part.need.mean():>8.2f}"
        )
    return "\n".join([*lines, ""])


def mixes(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        f"{'mix':<23}{'tasks':>6}{'small':>8}{'large':>8}{'APGR':>15}{'oracle':>8}"
        f"{'CPT(50%)':>10}{'CPT(80%)':>10}{'95 % at':>9}{'policy':>8}{'quality':>9}"
    ]
    lines += [
        f"{name:<23}{one['tasks']:>6}{one['small']:>8.1%}{one['large']:>8.1%}"
        f"{one['apgr']:>8.3f} ±{one['apgr_error']:.3f}{one['oracle_apgr']:>8.3f}"
        f"{one['cpt_50']:>10.1%}{one['cpt_80']:>10.1%}{one['share_for_95']:>9.1%}"
        f"{one['policy']['share']:>8.1%}{one['policy']['of_large']:>9.1%}"
        for name, one in found.items()
    ]
    return "\n".join(
        [
            *lines,
            "APGR of random is 0.5, of the oracle that of perfect knowledge; ± is one standard",
            "error. CPT and `95 % at` are shares of calls to the large model: at which half and",
            "80 % of the gap are closed, and the score is 95 % of the large one's. `policy` is",
            "cheapest_that_can's share of such calls, `quality` its part of the large one's score.",
            "",
        ]
    )


def policy(one: Mapping[str, Any], names: tuple[str, str]) -> str:
    taken = one["policy"]
    text = (
        f"Default policy: {taken['share']:.1%} of calls to {names[1]}, {taken['of_large']:.1%} "
        f"of its score."
    )
    prices = one.get("micros_per_1000")
    if prices is None:
        return text
    listed = ", ".join(f"{name} {price:,.0f}" for name, price in prices.items())
    return f"{text} Micro-units for 1,000 tasks: {listed}."


def cascade(one: Mapping[str, Any]) -> str:
    taken = one.get("cascade")
    if taken is None:
        return "Cascade: nothing is known of how sure the small model was."
    return (
        f"Cascade by the small model's confidence (AUROC {taken['auroc']:.3f}, APGR "
        f"{taken['apgr']:.3f}): below {taken['threshold']:.4f} to the large one sends it "
        f"{taken['share']:.1%} of the calls for {taken['of_large']:.1%} of its score, "
        f"{taken['micros_per_1000']:,.0f} micro-units for 1,000 tasks."
    )
