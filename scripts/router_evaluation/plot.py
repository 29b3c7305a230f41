from pathlib import Path

from scripts.router_evaluation.curve import Curve


def draw(
    path: Path,
    curves: dict[str, Curve],
    *,
    operating: tuple[float, float],
    names: tuple[str, str],
    title: str,
) -> None:
    """`curves` by name; `operating` is the default policy's share and quality."""
    import matplotlib as mpl  # noqa: PLC0415 (of the extra dev)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(6.4, 4.4))
    for name, one in curves.items():
        axes.plot(100 * one.shares, 100 * one.qualities, label=name)
    first = next(iter(curves.values()))
    small, large = 100 * first.small, 100 * first.large
    axes.plot([0, 100], [small, large], "--", color="grey", label="random")
    axes.axhline(small, color="lightgrey", label=f"always {names[0]}")
    axes.axhline(large, color="black", linewidth=0.8, label=f"always {names[1]}")
    axes.plot(100 * operating[0], 100 * operating[1], "o", label="default policy")
    axes.set(xlabel=f"calls to {names[1]}, %", ylabel="tasks done, %", title=title)
    axes.legend(loc="lower right", fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
