"""model.train.tflite: the network and its learning step in TFLite's built-in operators, with the state in variables.

The arrays are those of model.tflite, from which the first call of any signature fills the variables. The signatures:

* "infer": as that of model.tflite, with the state as it is now.
* "train": an input as for "infer", of one sample, and "target" int32 [1], its class -> "scores" and "label" before the step, as of
  "infer", and "report" int32 [1, 6]: predicted, skipped (1 where nothing was learnt), visited, moved, flipped, refused (1 where the
  target is no class, or a head has no row left for it; the state stays as it is).
* "save": () -> the state, by the names of `metabit.export.learning.state`; uint32 as int32, and () as (1,).
* "restore": the state as "save" gave it -> "restored" int32 [1], 1.

Each step equals the device's in every bit of the state. All of it is int32, and float32 where sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.interchange import FACTS, Tensors, facts, named_tensors
from metabit.export.files.tflite_file import infer, prediction
from metabit.export.files.tflite_layers import Layers
from metabit.export.files.tflite_schema import Model, Op
from metabit.export.frozen import Frozen, HeadLayer, LevelsLayer
from metabit.export.learning import tflite_backward, tflite_head, tflite_levels
from metabit.export.learning.state import State, state_of
from metabit.export.learning.steps import REPORT, TRAINS, VERSION
from metabit.export.learning.tflite_error import output_error
from metabit.export.learning.tflite_values import Code, Value


def write_tflite_train(frozen: Frozen) -> bytes:
    """Serialise a network and its learning step as a TFLite file. Equal networks give equal bytes.

    Raises MissingExtra without flatbuffers, ExportError for a network that does not learn, or learns by votes.
    """
    model, arrays = Model(), named_tensors(frozen)
    variables = stored(state_of(frozen))
    entries = {name: model.subgraph(name) for name in ("infer", "train", "save", "restore")}
    first = model.subgraph("first_state")
    numbers = [model.index(subgraph) for subgraph in (*entries.values(), first)]
    for subgraph in entries.values():
        subgraph.run(Op.CALL_ONCE, [], [], {0: np.int32(numbers[-1])})
    graph = _Live(Code(entries["infer"]), arrays, frozen, variables)
    infer(model, graph, frozen)
    _train(model, _Live(Code(entries["train"]), arrays, frozen, variables), frozen)
    save, restore = Code(entries["save"]), Code(entries["restore"])
    told = [save.named(name, save.read(name, array.shape, array.dtype.type)) for name, array in variables.items()]
    model.signature("save", save.subgraph, [], [one.index for one in told])
    given = [restore.input(name, array.shape, array.dtype.type) for name, array in variables.items()]
    for one, name in zip(given, variables, strict=True):
        restore.assign(name, one)
    done = restore.named("restored", restore.number(1))
    model.signature("restore", restore.subgraph, [one.index for one in given], [done.index])
    _fill(Code(first), variables, arrays)
    model.metadata(FACTS, facts(frozen))
    model.metadata(TRAINS, VERSION)
    return model.serialize()


def stored(state: State) -> dict[str, NDArray[Any]]:
    """The state as the variables hold it: int32 for uint32, and (1,) for a single number."""
    return {name: np.atleast_1d(_signed(array)) for name, array in state.items()}


def state_of_variables(frozen: Frozen, saved: Mapping[str, NDArray[Any]]) -> State:
    """The state as `metabit.export.learning.state` has it, of what the signature "save" gave for this network.

    Raises ExportError if an array is missing or is of another network.
    """
    state: State = {}
    for name, like in state_of(frozen).items():
        if name not in saved:
            raise ExportError(f"the state has no {name}: give every array that save gave")
        got, want = np.array(saved[name]), np.atleast_1d(_signed(like))
        if got.dtype != want.dtype or got.shape != want.shape:
            raise ExportError(
                f"{name} is {got.dtype} {got.shape}, the network has {want.dtype} {want.shape}: give the state of this network"
            )
        state[name] = got.view(like.dtype).reshape(like.shape)
    return state


def _signed(array: NDArray[Any]) -> NDArray[Any]:
    return array.view(np.int32) if array.dtype == np.uint32 else array


def _fill(code: Code, variables: Tensors, arrays: Tensors) -> None:
    """The first state, from the arrays of the file. Arrays that no operator reads lie here too."""
    constants = {name: code.subgraph.constant(name, array) for name, array in arrays.items()}
    for name, array in variables.items():
        value = code.array(array)
        if name in constants:
            value = Value(code, constants[name], array.shape, array.dtype.type)
        code.assign(name, value)


class _Live(Layers):
    """Builds "infer" of a network that learns: what changes comes from the variables."""

    def __init__(self, code: Code, arrays: Tensors, frozen: Frozen, variables: Tensors) -> None:
        super().__init__(code.subgraph, arrays)
        self.code = code
        self.state = {name: code.read(name, array.shape, array.dtype.type) for name, array in variables.items()}
        self.live = {name: value.index for name, value in self.state.items()}
        last = frozen.layers[-1]
        if isinstance(last, HeadLayer):
            self.head = {name.partition(".")[2]: value.wide() for name, value in self.state.items() if "." in name}
            offsets, priors = tflite_head.derived(code, last, self.head)
            self.live |= {"layer1.offsets": offsets.index, "layer1.priors": priors.index}

    def constant(self, name: str) -> int:
        return self.live[name] if name in self.live else super().constant(name)


def _train(model: Model, graph: _Live, frozen: Frozen) -> None:
    """The signature of one learning step."""
    code, state, last = graph.code, graph.state, frozen.layers[-1]
    source, (scored, told) = prediction(graph, frozen)
    given = code.input("target", (1,), np.int32)
    accepted = (given >= 0) & (code.number(frozen.classes) > given)
    truth = given.clip(0, frozen.classes - 1)
    scores = Value(code, scored, (frozen.classes,)).reshape(frozen.classes)
    one, none = code.number(1), code.number(0)
    steps, moved, flipped = (state["counters"].cut([i], [1]) for i in range(3))
    visits = moves = flips = none
    skipped = refused = (~accepted).wide()
    after: dict[str, Value] = {}
    if isinstance(last, HeadLayer):
        x = _row(code, "layer1.values" if frozen.layers[0].kind == "gates" else "layer0.values", last.inputs)
        row, more = truth, {}
        if last.rows.per_class > 1:
            rows = _row(code, "layer1.rows", len(last.hidden))
            row, doubts, full = tflite_head.row_of(code, last, graph.head, rows, truth)
            here = code.table(np.arange(len(last.hidden))).equals(row)
            more = {"doubts": doubts, "owners": code.where(here, truth, graph.head["owners"])}
            accepted = accepted & ~full
            skipped = refused = (~accepted).wide()
        learnt = tflite_head.learn(code, last, graph.head, x, row, steps + 1) | more
        learnt = {name: code.where(accepted, value, graph.head[name]) for name, value in learnt.items()}
        after = {f"layer1.{name}": value for name, value in learnt.items()}
    else:
        error, true_error, taught = output_error(code, frozen, scores, truth)
        taught = taught & accepted
        skipped, generator = (~taught).wide(), state["generator"]
        if isinstance(last, LevelsLayer):
            x = _row(code, "layer0.levels", last.inputs)
            levels, generator, visits, moves = tflite_levels.learn(
                code, last, state["layer1.levels"].wide(), x, error, taught, generator
            )
            after["layer1.levels"] = levels
        else:
            done, planes = _backward(graph, frozen, error, true_error, taught)
            after |= planes
            visits, moves, flips, generator = done.visited, done.moved, done.flipped, done.generator
        after["generator"] = generator
    after["counters"] = code.join([steps + one - refused, moved + moves, flipped + flips])
    for name, value in after.items():
        code.assign(name, value.cast(state[name].dtype))
    label = Value(code, told, (1,))
    told_of = code.join([label, skipped, visits, moves, flips, refused])
    report = code.named("report", told_of.reshape(1, len(REPORT)))
    model.signature("train", graph.subgraph, [source, given.index], [scored, told, report.index])


def _row(code: Code, name: str, size: int, dtype: type[np.generic] = np.int32) -> Value:
    """The tensor (1, size) that "infer" made by this name, as (size,) int32."""
    return code.known(name, (1, size), dtype).reshape(size).wide()


def _backward(
    graph: _Live, frozen: Frozen, error: Value, true_error: Value, taught: Value
) -> tuple[tflite_backward.Step, dict[str, Value]]:
    """Visits, moves and flips of the step of sign units, and the level planes after it."""
    code, layers = graph.code, frozen.layers
    names = ["encode.signal", *(f"layer{i}.signal" for i in range(len(layers) - 1))]
    learning = [i for i, layer in enumerate(layers) if layer.learns]
    taken = range(learning[0], len(layers))
    signals = {i: _row(code, names[i], layers[i].values, np.float32) for i in taken}
    sums = {i: _row(code, f"layer{i}.integer_sums", layers[i].units) for i in taken[:-1]}
    weights = {
        i: code.known(f"layer{i}.weights", (layers[i].units, 8 * -(-layers[i].inputs // 8)), np.float32) for i in taken
    }
    stored = {i: [graph.state[f"layer{i}.{name}"] for name in ("hidden_planes", "sign_plane")] for i in learning}
    planes = {i: code.join([value.reshape(-1) for value in pair]) for i, pair in stored.items()}
    found, step = tflite_backward.learn(
        code, frozen, signals, sums, weights, planes, error, true_error, taught, graph.state["generator"]
    )
    after: dict[str, Value] = {}
    for i, (below, signs) in stored.items():
        size, left = math.prod(signs.shape), math.prod(below.shape)
        after[f"layer{i}.hidden_planes"] = found[i].cut([0], [left]).reshape(*below.shape)
        after[f"layer{i}.sign_plane"] = found[i].cut([left], [size]).reshape(*signs.shape)
    return step, after
