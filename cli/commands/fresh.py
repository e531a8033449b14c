"""metabit fresh"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from typer import Argument, Option

from metabit.cli import datasets, ranges
from metabit.cli.errors import UsageError
from metabit.data import Task
from metabit.data.oddities import spikes, unseen
from metabit.experiments import show
from metabit.export import Frozen

DEFAULT = (0.16, 0.59)
"""Thresholds as shares of the largest feature; 40 and 150 where that is 255."""
THRESHOLDS = "Votes: threshold 0..255, repeatable; an input counts those its feature reaches. Default: 16 %, 59 % of the largest."
SAMPLES = 64
"""Unlabelled samples of the training part that the units are made from."""
DATA = "digits"
_DATA = f"Dataset that it will learn, {DATA} by default: {datasets.HELP}"
_UNITS = (
    "Units, an even number 2..128: 64 by default. 128 learn better, in 3.5 times the memory and four times the time."
)
_INPUT = "What the device is given: whole numbers as they are, or floats that a scale turns into int16. auto: as the data has them."
_LEARNER = "head: class means, for sensors and tables. votes: for raw pictures, and for streams whose inputs change without end."
_HIDDEN = "Votes: hidden units, 1..1024, 192 by default; multiples of 32 waste no memory."


class Learner(str, Enum):
    head = "head"
    votes = "votes"


class Input(str, Enum):
    auto = "auto"
    uint8 = "uint8"
    int16 = "int16"
    float = "float"


def thresholds_of(task: Task, given: Sequence[int] | None = None) -> tuple[int, ...]:
    """Thresholds of the inputs: the given ones, or `DEFAULT` shares of the largest feature. None occurs twice."""
    largest = int(task.x_train.max())
    return tuple(dict.fromkeys(given or [max(1, round(part * largest)) for part in DEFAULT]))


def sample_of(task: Task, seed: int) -> NDArray[Any]:
    """`SAMPLES` samples of the training part, or all if there are fewer, drawn at random: (n, F). Labels are not looked at."""
    rows = np.random.default_rng([seed, 3]).permutation(len(task.x_train))[:SAMPLES]
    sample: NDArray[Any] = task.x_train[rows]
    return sample


def warn_of(task: Task, sample: NDArray[Any]) -> None:
    """Says which features the sample shows badly. Pictures have pixels that are nearly always dark; they are left out."""
    if task.shape is not None:
        return
    for said in spikes(sample, task.feature_names):
        datasets.warn(f"{task.name}: {said}")
    if found := unseen(task.x_train, sample.min(0) == sample.max(0), task.feature_names):
        datasets.warn(
            f"{task.name}: the network does not look at {found}, which varies in the data and has one value in the {len(sample)} "
            "samples that show where features lie: another --seed draws others, or give --ranges in place of the data"
        )


def command(
    data: Annotated[str | None, Argument(help=_DATA, show_default=False)] = None,
    output: Annotated[Path, Option("-o", "--output", help="The image to write.")] = Path("out/fresh.mbit"),
    stated: Annotated[str | None, Option("--ranges", help=ranges.HELP)] = None,
    classes: Annotated[int | None, Option(help="Classes to learn with --ranges; 2..128.")] = None,
    spare_classes: Annotated[int, Option(help="Room for classes that come later.", min=0)] = 0,
    units: Annotated[int | None, Option(help=_UNITS)] = None,
    inputs: Annotated[Input, Option("--input", help=_INPUT)] = Input.auto,
    learner: Annotated[Learner, Option(help=_LEARNER)] = Learner.head,
    hidden: Annotated[int | None, Option(help=_HIDDEN)] = None,
    bits: Annotated[int | None, Option(help="Votes: bits a synapse, sign included, 2..8, 4 by default.")] = None,
    threshold: Annotated[list[int] | None, Option(help=THRESHOLDS)] = None,
    features: Annotated[str | None, Option(hidden=True)] = None,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Write a network that has learnt nothing, and learns on the device from its first sample.

    It needs no training on a computer. It looks at 64 samples of the training part, not at their labels, to see where the features
    lie, and takes the names of the classes; or --ranges says where they lie, and no data is needed. Use it with `metabit run` and
    `metabit simulate`. It learns by class means with a streamed covariance, or by votes (docs/learning-rule.md).

    Without data: metabit fresh --ranges shake:0..1,heat:20..40 --classes 3

    Example: [bold]metabit fresh digits -o out/fresh.mbit --units 128[/]
    """
    from metabit.data.rows import write_whole
    from metabit.export import write_image
    from metabit.runtime import Model

    if features is not None:
        raise UsageError(
            "--features was removed: a head on a trained network's features learnt no better than none. Leave it out to learn "
            "on the data itself, or let the trained network learn on: metabit export, then metabit run --learn"
        )
    by_head = {"--ranges": stated, "--classes": classes, "--spare-classes": spare_classes or None, "--units": units,
               "--input": None if inputs is Input.auto else inputs}  # fmt: skip
    by_votes = {"--hidden": hidden, "--bits": bits, "--threshold": threshold}
    other, beside = (Learner.votes, by_votes) if learner is Learner.head else (Learner.head, by_head)
    if wrong := [name for name, value in beside.items() if value is not None]:
        raise UsageError(f"{wrong[0]} belongs to --learner {other.value}: leave it out, or add that")
    task = _task(data, stated, classes, seed)
    if learner is Learner.head:
        frozen = _head(task, stated, classes, spare_classes, 64 if units is None else units, inputs, seed)
    else:
        assert task is not None
        frozen = _votes(task, 192 if hidden is None else hidden, 4 if bits is None else bits, threshold, seed)
    image = write_image(frozen)
    model = Model(image)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, image)
    sizes = {"flash: image": len(image), "RAM: state": model.state_size, "RAM: arena, learn": model.arena_size("learn")}
    first = frozen.layers[0]
    if json:
        told = {"image": str(output), "read": task.facts() if task else {}, "learner": learner.value, "bits": first.bits,
                "features": frozen.features, "hidden": first.units, "classes": frozen.classes, "input": frozen.integers,
                "scaled": frozen.scale is not None, "bytes": sizes}  # fmt: skip
        show.emit(told)
        return
    if task is not None:
        datasets.say(task)
    show.table(f"{output}", ["memory", "bytes"], [(name, f"{count:,}") for name, count in sizes.items()])
    floats = ", from floats by the scale in the image" if frozen.scale is not None else ""
    how = f"{first.bits} bits a synapse" if learner is Learner.votes else f"takes {frozen.integers}{floats}"
    show.say(f"{frozen.features} -> {first.units} -> {frozen.classes}, {how}, nothing learnt yet")


def _task(data: str | None, stated: str | None, classes: int | None, seed: int) -> Task | None:
    """The dataset; None with ranges."""
    if stated is None:
        if classes is not None:
            raise UsageError("--classes belongs to --ranges: data brings its own, add --spare-classes for more")
        return datasets.loaded(data or DATA, seed)
    if data is not None:
        raise UsageError(f"{data} and --ranges: give one of them, data shows where its features lie")
    if classes is None:
        raise UsageError("--ranges needs --classes, the number of classes to learn")
    return None


def _head(
    task: Task | None, stated: str | None, classes: int | None, spare: int, units: int, inputs: Input, seed: int
) -> Frozen:
    from metabit.export import fresh, sample_of_ranges

    names: tuple[str, ...] = ()
    if task is not None:
        sample, classes, names = sample_of(task, seed), task.classes, task.feature_names
        warn_of(task, sample)
    else:
        assert stated is not None and classes is not None
        ends, names = ranges.read(stated)
        sample = sample_of_ranges(ends, seed, whole=inputs in (Input.uint8, Input.int16))
    known = task.class_names if task is not None else ()
    return fresh(
        sample,
        classes,
        units=units,
        spare_classes=spare,
        takes=inputs.value,
        class_names=known,
        feature_names=names,
        seed=seed,
    )


def _votes(task: Task, hidden: int, bits: int, threshold: Sequence[int] | None, seed: int) -> Frozen:
    from metabit.data.task import check_bytes
    from metabit.export import VoteOptions, fresh_votes

    check_bytes(task, "a network that learns by votes", "--learner head takes any numbers")
    options = VoteOptions(bits=bits, thresholds=thresholds_of(task, threshold), seed=seed)
    return fresh_votes(task.features, hidden, task.classes, options)
