"""Learning curves as SVG, drawn by matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pmd_agent.evaluation.arms import Arm
from pmd_agent.evaluation.curves import Axis, mean_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANGES = 6
"""Arms up to which the range of each one's runs is shaded; more shades hide each other."""
LABELS: dict[Axis, str] = {"rollouts": "rollouts", "seconds": "seconds of training"}


def learning_curves(arms: Sequence[Arm], axis: Axis, *, with_memory: bool = False) -> str | None:
    """Validation accuracy of each arm, the mean over its runs, as an `<svg>`; None where no run has two points.

    Of few arms (`RANGES`) with the range of their runs. An arm has the same colour and dashes in every drawing of these arms.
    """
    curves = [mean_curve(arm.runs, axis, with_memory=with_memory) for arm in arms]
    if all(len(points) < 2 for points in curves):
        return None

    def draw(figure: Figure) -> None:
        import matplotlib

        axes = figure.subplots()
        colours = matplotlib.colormaps["tab10"]
        for i, (arm, points) in enumerate(zip(arms, curves, strict=True)):
            if len(points) < 2:
                continue
            where, mean, least, greatest = (list(column) for column in zip(*points, strict=True))
            style = ("-", "--", ":", "-.")[i // 10 % 4]
            axes.plot(where, [100 * v for v in mean], style, color=colours(i % 10), label=arm.name, linewidth=1.8)
            if len(arms) <= RANGES:
                low, high = [100 * v for v in least], [100 * v for v in greatest]
                axes.fill_between(where, low, high, color=colours(i % 10), alpha=0.08)
        axes.set_xlabel(LABELS[axis])
        axes.set_ylabel("validation accuracy, " + ("with memory" if with_memory else "memory-free") + " (%)")
        axes.set_ylim(0, 100)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)

    return as_svg(draw, width=7.6, height=4.2)


def as_svg(draw: Callable[[Figure], None], *, width: float, height: float) -> str:
    """What `draw` puts on a figure of so many inches, as an `<svg>` with its text as text; the same each time."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pmd", "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
