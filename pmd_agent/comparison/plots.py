"""Learning curves as SVG, drawn by matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pmd_agent.comparison.arms import Arm
from pmd_agent.comparison.curves import Axis, mean_curve

LABELS: dict[Axis, str] = {"rollouts": "rollouts", "seconds": "seconds of training"}


def learning_curves(arms: Sequence[Arm], axis: Axis, *, with_memory: bool = False) -> str | None:
    """Validation accuracy of each arm, the mean over its runs and their range, as an `<svg>`; None where no run has two points."""
    curves = [(arm.name, mean_curve(arm.runs, axis, with_memory=with_memory)) for arm in arms]
    curves = [(name, points) for name, points in curves if len(points) > 1]
    if not curves:
        return None
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pmd", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axes = figure.subplots()
        colours = matplotlib.colormaps["tab20" if len(curves) > 10 else "tab10"]
        for i, (name, points) in enumerate(curves):
            where, mean, least, greatest = (list(column) for column in zip(*points, strict=True))
            style = ("-", "--", ":", "-.")[i // 5 % 4]
            axes.plot(where, [100 * v for v in mean], style, color=colours(i), label=name, linewidth=1.8)
            axes.fill_between(
                where, [100 * v for v in least], [100 * v for v in greatest], color=colours(i), alpha=0.08
            )
        axes.set_xlabel(LABELS[axis])
        axes.set_ylabel("validation accuracy, " + ("with memory" if with_memory else "memory-free") + " (%)")
        axes.set_ylim(0, 100)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
