"""Networks trained before deployment that learn a new task on the device, by the vote rule: docs/results/deployment/README.md.

    METABIT_DATA_DIR=... python benchmarks/deployment.py mnist-fashion
    python benchmarks/deployment.py            lists the experiments

A network is trained on the old task (metabit.train), frozen (metabit.export), and then learns only the new one, a sample at a time,
by the C runtime on the host. `--validate` measures at seed 100 on training samples held out: settings are chosen by it, never by
the test samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
from checkpoints import VOTE_RULE, digest, trained
from numpy.typing import NDArray
from streams import learn
from tasks import a_sixth, ends, people, turned, usps

from metabit.data import Task, load
from metabit.data.task import thermometer
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import VOTES_AFTER_TRAINING, Frozen, VoteOptions, freeze_graded, fresh_votes, write_image
from metabit.runtime import Model
from metabit.train import Checkpoint
from metabit.train.settings import Defaults, Settings

PAGE = "docs/results/deployment/README.md"


@dataclass(frozen=True)
class Training:
    """Settings of training on a computer, on one task alone."""

    hidden: int
    lr: float
    m: float = 20.0
    eps: float = 1e-2
    epochs: int = 10
    planes: int = 4
    weight_decay: float = 0.0

    def settings(self, seed: int) -> Settings:
        changes = asdict(self) | {"hidden": (self.hidden,), "evaluate_every": self.epochs, "seed": seed}
        return Settings.of(Defaults(preset="gates-192"), **changes)


@dataclass(frozen=True)
class Experiment:
    """A table: an old and a new task, how the network is trained on the first and how it learns the second.

    Args:
        tasks: their names.
        load: gives both.
        gentle: the options with which m = 0 keeps the old task best.
        passes: over the new task's training samples.
        held: task -> mask (n,) of the training samples that are held out to choose settings by.
    """

    title: str
    tasks: tuple[str, str]
    load: Callable[[], tuple[Task, Task]]
    training: Training
    options: VoteOptions = VOTES_AFTER_TRAINING
    gentle: VoteOptions = VOTES_AFTER_TRAINING
    passes: int = 1
    held: Callable[[Task], NDArray[np.bool_]] = a_sixth
    seeds: tuple[int, ...] = (0, 1, 2)


EXPERIMENTS = {
    "mnist-fashion": Experiment(
        "MNIST before deployment, Fashion-MNIST after", ("MNIST", "Fashion-MNIST"),
        lambda: (load("mnist").task(0), load("fashion").task(0)), Training(hidden=512, lr=0.3),
        gentle=replace(VOTES_AFTER_TRAINING, deviations=6.0, chance_per_vote=0.07),
    ),
    "turned-mnist": Experiment(
        "MNIST upright before deployment, turned by 90° after", ("upright", "turned"),
        lambda: (load("mnist").task(0), turned(load("mnist").task(0))), Training(hidden=512, lr=0.3),
        replace(VOTES_AFTER_TRAINING, delta=0.5, deviations=4.0, skip_below=0.2),
        replace(VOTES_AFTER_TRAINING, delta=0.5, deviations=7.0, chance_per_vote=0.07),
    ),
    "mnist-usps": Experiment(
        "MNIST before deployment, USPS after", ("MNIST", "USPS"), lambda: (load("mnist").task(0), usps()),
        Training(hidden=512, lr=0.3), gentle=replace(VOTES_AFTER_TRAINING, deviations=5.0, chance_per_vote=0.03), passes=5,
    ),
    "watch": Experiment(
        "Seven exercises: five people before deployment, five others after", ("people 1-5", "people 6-10"),
        lambda: (people(range(5)), people(range(5, 10))), Training(hidden=512, lr=1.5, epochs=100, planes=8),
        replace(VOTES_AFTER_TRAINING, deviations=3.0, chance_per_vote=0.1, skip_below=0.2),
        replace(VOTES_AFTER_TRAINING, deviations=4.0, chance_per_vote=0.2), passes=20, held=ends,
    ),
}  # fmt: skip


def tasks(experiment: Experiment, validate: bool) -> tuple[Task, Task]:
    """The old and the new task. To choose settings, tests are on training samples that nothing learns."""

    def part(task: Task) -> Task:
        held = experiment.held(task)
        # Windows that overlap those held out show nearly the same second: they are not learnt either.
        near = held | np.roll(held, -1) | np.roll(held, -2) | np.roll(held, -3) if experiment.held is ends else held
        x, y = task.x_train, task.y_train
        return replace(task, x_train=x[~near], y_train=y[~near], x_test=x[held], y_test=y[held])

    old, new = experiment.load()
    return (part(old), part(new)) if validate else (old, new)


# After deployment


def with_all_levels_at(frozen: Frozen, magnitude: int) -> Frozen:
    """Every level at the same magnitude, its sign kept; 0: a device that received the weights and nothing else."""
    graded, output = frozen.layers
    hidden = np.where(graded.hidden >= 0, magnitude, -1 - magnitude).astype(np.int8)
    return replace(frozen, layers=(replace(graded, hidden=hidden), output))


FREEZE: dict[str, Callable[[Checkpoint, Experiment, int], Frozen]] = {
    "levels exported": lambda c, e, seed: freeze_graded(c, replace(e.options, seed=seed)),
    "signs exported": lambda c, e, seed: with_all_levels_at(freeze_graded(c, replace(e.options, seed=seed)), 0),
    "m = 0": lambda c, e, seed: freeze_graded(c, replace(e.options, seed=seed), m=0.0),
    "m = 0, gentle": lambda c, e, seed: freeze_graded(c, replace(e.gentle, seed=seed), m=0.0),
}
ON_DEVICE, OFFLINE = "new task alone, on the device", "new task alone, offline"
DEPLOYMENTS = (*FREEZE, ON_DEVICE, OFFLINE)


def cell(name: str, deployment: str, seed: int, experiment: Experiment) -> Cell:
    """All that decides a run; the options by the digest of a small image that has them."""
    found = {"experiment": name, "deployment": deployment, "seed": seed, "training": asdict(experiment.training)}
    if deployment == OFFLINE:
        return found
    options = experiment.gentle if deployment.endswith("gentle") else experiment.options
    image = digest(write_image(fresh_votes(6, 5, 3, options), crc32=True))  # as when the rows were recorded
    return found | {"options": image, "passes": experiment.passes, "rule": VOTE_RULE}


def cells(name: str) -> dict[str, list[Cell]]:
    experiment = EXPERIMENTS[name]
    return {d: [cell(name, d, seed, experiment) for seed in experiment.seeds] for d in DEPLOYMENTS}


def first(experiment: Experiment, deployment: str, seed: int, old: Task, new: Task) -> Frozen:
    """The network that the device starts with."""
    training = experiment.training
    if deployment in FREEZE:
        return FREEZE[deployment](trained(experiment.tasks[0], old, training.settings(seed)), experiment, seed)
    if deployment == OFFLINE:
        alone = trained(experiment.tasks[1], new, replace(training, m=0.0).settings(seed))
        return with_all_levels_at(freeze_graded(alone), 7)  # all weights count alike, as in training
    thresholds = tuple(int(t) for t in thermometer(new.x_train, training.planes)[:, 0])
    options = replace(experiment.options, thresholds=thresholds, seed=seed)
    return fresh_votes(new.features, training.hidden, new.classes, options)


def measure(asked: Cell, experiment: Experiment | None = None, validate: bool = False) -> Row:
    """Measure one deployment of one network. validate: of an experiment with other settings, on samples held out."""
    experiment, deployment, seed = experiment or EXPERIMENTS[asked["experiment"]], asked["deployment"], asked["seed"]
    old, new = tasks(experiment, validate)
    model = Model(write_image(first(experiment, deployment, seed, old, new)))
    row: Row = {"before": accuracies(model, old, new)}
    if deployment != OFFLINE:
        row |= learn(model, stream(new, experiment.passes, seed))
        row |= {"state_bytes": model.state_size, "arena_bytes": model.arena_size()}
    return row | {"after": accuracies(model, old, new)} | results.provenance()


def accuracies(model: Model, *tasks: Task) -> list[float]:
    """Test accuracy on each task, 0..1."""
    return [float((model.predict_many(task.x_test) == task.y_test).mean()) for task in tasks]


def stream(task: Task, passes: int, seed: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """The training samples, about a thousand at a time, each pass in an order of its own."""
    for number in range(passes):
        order = np.random.default_rng([seed, number]).permutation(len(task.x_train))
        for rows in np.array_split(order, max(1, len(order) // 1000)):
            yield task.x_train[rows], task.y_train[rows]


def validate(name: str, deployment: str, changes: Cell) -> Row:
    """Changes as {"training": {...}, "options": {...}, "gentle": {...}, "passes": n}, each of them optional."""
    experiment = EXPERIMENTS[name]
    parts = {key: replace(getattr(experiment, key), **value) for key, value in changes.items() if key != "passes"}
    tried = replace(experiment, **parts, passes=changes.get("passes", experiment.passes))
    return measure(cell(name, deployment, 100, tried), tried, validate=True)


# Pages


def table(name: str) -> str:
    """Markdown: per cent, and work per sample."""
    experiment, rows = EXPERIMENTS[name], []
    old, new = experiment.tasks
    for deployment, runs in BENCHMARK.done(name).items():
        shares = [results.spread([row[when][task] for row in runs]) for task in (0, 1) for when in ("before", "after")]
        work = ["–"] * 7
        if deployment == OFFLINE:
            shares[0] = shares[2] = "–"
        if deployment not in FREEZE:
            shares[0] = shares[1] = "–"
        if deployment != OFFLINE:
            visited, moved, flipped, took = results.means(runs, "visited", "moved", "flipped", "microseconds")
            share = visited * experiment.options.bits / (8 * runs[0]["state_bytes"])
            sizes = f"{runs[0]['samples']:,}", f"{runs[0]['state_bytes']:,}"
            work = [
                f"{visited:.1f}",
                f"{100 * share:.2f} %",
                f"{moved:.2f}",
                f"{flipped:.2f}",
                *sizes,
                f"{took:.0f}",
            ]
        rows.append([deployment, results.seeds(runs), *shares, *work])
    head = [
        "deployment", "seeds", f"{old}: before", "after", f"{new}: before", "after", "visited", "of all", "moved", "flipped",
        "samples", "state, bytes", "µs a sample",
    ]  # fmt: skip
    about = f"`{name}`, on {results.places(BENCHMARK.rows(name))}."
    return results.page(experiment.title, about, results.markdown(head, rows), sentences(experiment), level=2)


def sentences(experiment: Experiment) -> list[str]:
    t, o, gentle = experiment.training, experiment.options, experiment.gentle
    return [
        f"Training: {t.hidden} graded units, {t.planes} planes, {t.epochs} epochs, m = {t.m:g}, lr = {t.lr:g}, eps = {t.eps:g}.",
        f"Device: {o.bits} bits a synapse, delta = {o.delta:g}, deviations = {o.deviations:g}, chance per vote = "
        f"{o.chance_per_vote:g}, skip below = {o.skip_below:g}; gentle: deviations = {gentle.deviations:g}, chance per vote = "
        f"{gentle.chance_per_vote:g}. Passes over the new task: {experiment.passes}.",
    ]


def pages() -> dict[str, str]:
    text = f"""# Learning a new task after deployment

A network is trained on the old task, exported, and learns only the new one, a sample at a time, in integers; it is not told
which task a sample is from. Per cent of the test samples, ± standard deviation over seeds. {BENCHMARK.raw(PAGE)}
{BENCHMARK.command("NAME")} measures one of the tables; settings were chosen at seed 100 on training samples held out
(`--validate`).

Signs exported: the weights alone, every level next to zero. m = 0: the levels, without metaplasticity; gentle: with the settings
that suit it best. New task alone: accuracy of the same network when there is no old task to keep, learning on the device from
random weights, and trained offline.
"""
    return BENCHMARK.sections(PAGE, text, table)


BENCHMARK = Benchmark(
    __file__, {name: e.title for name, e in EXPERIMENTS.items()}, cells, pages, measure,
    pictures=lambda: results.bars(BENCHMARK, "after", {name: e.tasks for name, e in EXPERIMENTS.items()}), validate=validate,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
