"""Pictures of results, as .svg or .png files. Equal numbers give equal bytes.

Colours are Okabe and Ito's, which colour-blind readers can distinguish; lines also differ in their marks.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metabit.train import metrics
from metabit.train.errors import TrainError, extra

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKS = "osD^vPX*"
STYLE: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "svg.hashsalt": "metabit",  # otherwise the ids in each file are random
}


def accuracy_over_time(
    path: str | Path,
    history: Sequence[Mapping[str, Any]],
    names: Sequence[str] | None = None,
) -> None:
    """The paper's Fig. 2: a line for each task over all epochs; every second task's epochs are shaded.

    More than eight tasks are drawn in colours from dark to light, with a scale in place of a legend.

    Args:
        history: rows of a run: ``task``, and ``accuracy`` of tasks 0, 1, ..., 0..1 (None or absent: not drawn).
        names: of the tasks; None: task 1, task 2, ...

    Raises:
        TrainError: there is nothing to draw, or the file cannot be written.
    """
    count = len(metrics.accuracy_matrix(history))
    labels = _names(names, count)
    starts = [i for i, row in enumerate(history) if i == 0 or row["task"] != history[i - 1]["task"]]
    many = count > len(COLOURS)
    with _figure(path, (8.0, 3.8)) as figure:
        axes = figure.subplots()
        for turn, (begin, end) in enumerate(zip(starts, [*starts[1:], len(history)], strict=True)):
            axes.axvspan(begin + 0.5, end + 0.5, color="0.5", alpha=0.13 if turn % 2 == 0 else 0.0, linewidth=0)
            if len(starts) <= 12:
                middle, name = (begin + end + 1) / 2, labels[int(history[begin]["task"])]
                axes.text(middle, 102.5, f"learning {name}" if len(starts) <= 4 else name, ha="center", fontsize=9)
        colour = _shades(count) if many else [COLOURS[j] for j in range(count)]
        for j in range(count):
            points = [
                (i + 1, 100 * row["accuracy"][j])
                for i, row in enumerate(history)
                if j < len(row["accuracy"]) and row["accuracy"][j] is not None
            ]
            if points:
                mark = {} if many else {"marker": MARKS[j], "markevery": max(1, len(history) // 24)}
                axes.plot(*zip(*points, strict=True), color=colour[j], label=labels[j], **mark)
        axes.set(xlim=(0.5, len(history) + 0.5), ylim=(0, 101), xlabel="epoch", ylabel="test accuracy, %")
        axes.set_title("Test accuracy while the tasks come one after the other", pad=20 if len(starts) <= 12 else 6)
        axes.grid(axis="x", visible=False)
        if many:
            from matplotlib.cm import ScalarMappable
            from matplotlib.colors import ListedColormap, Normalize

            colours = ScalarMappable(Normalize(1, count), ListedColormap(_shades(256)))
            figure.colorbar(colours, ax=axes, label="task")
        else:
            figure.legend(loc="outside right center")


def accuracy_heat_map(path: str | Path, matrix: ArrayLike, names: Sequence[str] | None = None) -> None:
    """Row i after learning task i, column j tested on task j: (tasks, tasks), 0..1, hatched where NaN."""
    r = np.asarray(matrix, dtype=np.float64)
    labels = _names(names, len(r))
    side = min(9.0, max(3.2, 0.55 * len(r) + 1.8))
    with _figure(path, (side + 1.2, side)) as figure:
        axes = figure.subplots()
        axes.set_facecolor("0.93")
        axes.patch.set(hatch="///", edgecolor="0.75")
        image = axes.imshow(100 * r, vmin=0, vmax=100, cmap="cividis")
        if len(r) <= 12:
            for (i, j), value in np.ndenumerate(r):
                if not np.isnan(value):
                    ink = "black" if value > 0.55 else "white"
                    axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=9)
            axes.set_xticks(range(len(r)), labels, rotation=0 if max(map(len, labels)) <= 6 else 40)
            axes.set_yticks(range(len(r)), labels)
        axes.set(xlabel="tested on", ylabel="after learning", title="Accuracy matrix")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, label="test accuracy, %", shrink=0.8)


def hidden_histograms(path: str | Path, tensors: Mapping[str, ArrayLike]) -> None:
    """The paper's Fig. 2g, h: the distribution of each layer's hidden weights, negative and positive in two colours.

    Args:
        tensors: as `Network.tensors` gives them; those named ``….hidden`` are drawn.
    """
    layers = metrics.hidden_histograms(tensors)
    with _figure(path, (2.9 * len(layers) + 0.4, 2.9)) as figure:
        all_axes = figure.subplots(1, len(layers), squeeze=False)[0]
        for axes, (name, (counts, edges)) in zip(all_axes, layers.items(), strict=True):
            share = 100 * counts / counts.sum()
            middles = (edges[:-1] + edges[1:]) / 2
            colour = [COLOURS[0] if middle >= 0 else COLOURS[1] for middle in middles]
            axes.bar(edges[:-1], share, np.diff(edges), align="edge", color=colour, linewidth=0)
            axes.set(xlabel="hidden weight", title=_layer(name))
            axes.title.set_fontsize(10)
        all_axes[0].set_ylabel("synapses, %")
        figure.suptitle("Hidden weights", x=0.01, ha="left", fontsize=12)


def final_accuracy(
    path: str | Path,
    runs: Mapping[str, ArrayLike],
    title: str = "Accuracy at the end",
    names: Sequence[str] | None = None,
) -> None:
    """Variants of an experiment, one below the other: a bar for the mean, a mark for each task, a tick for each seed.

    Args:
        runs: variant -> (seeds, tasks) accuracies, 0..1, after the last task.
        names: of the tasks. Variants with equal accuracies on all tasks (one test set) have no marks.

    Raises:
        TrainError: there is nothing to draw, or the file cannot be written.
    """
    if not runs:
        raise TrainError("no runs: there is nothing to draw")
    with _figure(path, (7.6, 1.0 + 0.42 * len(runs))) as figure:
        axes = figure.subplots()
        tasks = max(np.asarray(values).shape[1] for values in runs.values())
        labels, shades = _names(names, tasks), _shades(tasks) if tasks > len(COLOURS) else COLOURS
        for y, values in enumerate(runs.values()):
            percent = 100 * np.asarray(values, dtype=np.float64)
            mean = percent.mean()
            axes.barh(y, mean, height=0.62, color="0.85")
            axes.text(101, y, f"{mean:.1f}", va="center", fontsize=9)
            axes.plot(percent.mean(1), np.full(len(percent), y), "|", color="black", markersize=13, markeredgewidth=1.2)
            if np.ptp(percent, axis=1).any():
                for j, accuracy in enumerate(percent.mean(0)):
                    name = labels[j] if tasks <= 8 else None
                    axes.plot(accuracy, y, MARKS[j % len(MARKS)], color=shades[j], label=name)
        axes.set_yticks(range(len(runs)), list(runs))
        axes.invert_yaxis()
        axes.set(xlim=(0, 100), xlabel="test accuracy after the last task, %")
        figure.suptitle(textwrap.fill(title, 95), x=0.01, ha="left", fontsize=10)
        axes.grid(axis="y", visible=False)
        unique = {word: handle for handle, word in zip(*axes.get_legend_handles_labels(), strict=True)}
        if unique:
            figure.legend(unique.values(), unique.keys(), loc="outside right center", fontsize=9)


def curves(
    path: str | Path,
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    xlabel: str,
    ylabel: str,
    *,
    log: bool = False,
) -> None:
    """Panels beside each other with a common y axis, a line for each name.

    Args:
        panels: title -> {name of a line: (x (points,), y (points,))}. The legend is of the first panel.
        log: the x axis is logarithmic.

    Raises:
        TrainError: there is nothing to draw, or the file cannot be written.
    """
    if not any(panels.values()):
        raise TrainError("no lines: there is nothing to draw")
    with _figure(path, (4.4 * len(panels) + 0.4, 3.4)) as figure:
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
            for i, (name, (x, y)) in enumerate(lines.items()):
                axes.plot(x, y, color=COLOURS[i % len(COLOURS)], marker=MARKS[i % len(MARKS)], label=name)
            axes.set(title=title, xlabel=xlabel)
            axes.locator_params(nbins=5)
            if log:
                axes.set_xscale("log")
        all_axes[0].set_ylabel(ylabel)
        all_axes[0].legend(fontsize=9)


def switch_increase(path: str | Path, rows: Sequence[Mapping[str, Any]], title: str = "Switched signs") -> None:
    """Mean loss increase against hidden magnitude, a panel for each layer, bars of one standard deviation.

    Args:
        rows: of `analyses.switch_signs` (``layer`` names the panel) or `quadratic.switch_rows`: ``magnitude`` 0..1,
            ``increase``, ``deviation``, optionally ``predicted``.
    """
    if not rows:
        raise TrainError("no rows: there is nothing to draw")
    layers = list(dict.fromkeys(row.get("layer") for row in rows))
    with _figure(path, (3.3 * len(layers) + 0.6, 3.2)) as figure:
        all_axes = figure.subplots(1, len(layers), squeeze=False)[0]
        for axes, layer in zip(all_axes, layers, strict=True):
            chosen = [row for row in rows if row.get("layer") == layer]
            x, y, deviation = ([row[key] for row in chosen] for key in ("magnitude", "increase", "deviation"))
            axes.axhline(0, color="0.4", linewidth=0.8)
            axes.errorbar(x, y, deviation, color=COLOURS[0], ecolor="0.6", fmt="o", capsize=2, label="measured")
            if "predicted" in chosen[0]:
                axes.plot(x, [row["predicted"] for row in chosen], color=COLOURS[1], label="predicted", zorder=3)
                axes.legend(loc="upper left")
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
            axes.set(xlim=(-0.02, 1.02), xlabel="|hidden weight| / largest")
            if layer is not None:
                axes.set_title(_layer(str(layer)), fontsize=10)
        all_axes[0].set_ylabel("loss increase of a switch")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)


@contextmanager
def _figure(path: str | Path, size: tuple[float, float]) -> Iterator[Any]:
    """A figure without pyplot's global state; it is written to the path when the block ends."""
    with extra("matplotlib"):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    path = Path(path)
    if path.suffix not in (".svg", ".png"):
        raise TrainError(f"cannot write a picture to {path.name}: its name must end in .svg or .png")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        yield figure
        # Without date and version the file changes only when the numbers do.
        silent = {"Date": None, "Creator": "metabit"} if path.suffix == ".svg" else {"Software": None}
        try:
            figure.savefig(path, metadata=silent)
        except OSError as error:
            raise TrainError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from None


def _names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"task {i + 1}" for i in range(count)]
    if len(names) < count:
        raise TrainError(f"{len(names)} names for {count} tasks: give one for each")
    return list(names)[:count]


def _layer(name: str) -> str:
    number = name.rpartition(".")[2]
    return f"layer {int(number) + 1}" if number.isdigit() else name


def _shades(count: int) -> list[Any]:
    import matplotlib

    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.92, count)))
