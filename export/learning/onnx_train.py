"""model.train.onnx: prediction and one learning step a sample as a graph of standard ONNX operators (opset 18, IR 8).

    scores, label, report, state.. = step(features or bits, target, state..)

The state in the file, a default of each state input, is where a first call begins; every later call takes what the one before gave,
``NAME.next`` as ``NAME``. The rules are those of a device, in every bit.
"""

from __future__ import annotations

import numpy as np

from metabit.export.errors import require
from metabit.export.files.interchange import FACTS, facts, named_tensors
from metabit.export.files.onnx_file import IR_VERSION
from metabit.export.files.onnx_functions import OPSET
from metabit.export.frozen import Frozen, HeadLayer
from metabit.export.learning.onnx_forward import below
from metabit.export.learning.onnx_graph import Graph, Value
from metabit.export.learning.onnx_head import HeadStep
from metabit.export.learning.onnx_levels import LevelsStep
from metabit.export.learning.onnx_rule import Rule
from metabit.export.learning.onnx_visits import VisitsStep
from metabit.export.learning.state import state_of
from metabit.export.learning.steps import REPORT, TRAINS, VERSION

NEXT = ".next"
PREDICT_ONLY = -1
"""A target with which a sample is predicted and not learnt."""

_DOC = """One learning step of metabit a sample, in the order of the samples.

Inputs: {source}: the samples, as model.onnx takes them. target: the class of each; with one outside 0..{last} a sample is
predicted and not learnt. The other inputs are the state; left out, each is the state in this file: {state}.
Outputs: scores of each sample before its step; label: the class with the highest score; report: predicted, skipped (1 where nothing
was learnt), visited, moved, flipped, refused (1 where the target is no class, or a head has no row left for it) of each sample; and
each state with .next behind its name, the input of the next call.
"""


def write_onnx_train(frozen: Frozen) -> bytes:
    """Serialise a network and its learning step as an ONNX model. Equal networks give equal bytes.

    Inputs: "features" uint8 or int16 [n, F], or "bits" uint8 [n, K] of 0 and 1; "target" int64 [n]; the arrays of
    `metabit.export.learning.state`. Outputs: "scores" int32 [n, C], "label" int64 [n], "report" int64 [n, 6] (`REPORT`), and each
    array of the state, its name followed by ".next". The graph's doc_string says so too.

    Raises MissingExtra without onnx, ExportError if the network does not learn or learns by votes.
    """
    onnx = require("onnx")
    state = state_of(frozen)
    follows = ("offsets", "priors")
    arrays = {name: a for name, a in named_tensors(frozen).items() if name.partition(".")[2] not in follows} | state
    g = Graph(arrays)
    source = Value(g, "bits" if frozen.packed else "features", frozen.integers, ["n", frozen.features])
    target = Value(g, "target", np.int64, ["n"])
    outputs = _whole(g, frozen, source, target)
    unread = [Value(g, name, a.dtype, a.shape) for name, a in arrays.items() if name not in g.used]
    taken = [source, target, *(Value(g, name, a.dtype, a.shape) for name, a in state.items())]
    kept = [onnx.numpy_helper.from_array(np.array(a, order="C"), name) for name, a in {**arrays, **g.constants}.items()]
    graph = g.helper.make_graph(g.first + g.nodes, "metabit.train", g.infos(taken), g.infos([*outputs, *unread]), kept)
    graph.doc_string = _DOC.format(source=source.name, last=frozen.classes - 1, state=", ".join(state))
    opsets = [g.helper.make_opsetid("", OPSET)]
    model = g.helper.make_model(graph, opset_imports=opsets, producer_name="metabit", ir_version=IR_VERSION)
    g.helper.set_model_props(model, {FACTS: facts(frozen), TRAINS: VERSION})
    return bytes(model.SerializeToString(deterministic=True))


def _whole(g: Graph, frozen: Frozen, source: Value, target: Value) -> list[Value]:
    """The outputs of the graph."""
    last = frozen.layers[-1]
    rule: Rule
    if isinstance(last, HeadLayer):
        rule, lowest = HeadStep(g, last), 1
    elif last.kind == "levels":
        rule, lowest = LevelsStep(g, frozen), 1
    else:
        visits = VisitsStep(g, frozen)
        rule, lowest = visits, visits.lowest
    given = below(g, frozen, source, lowest)
    if frozen.layers[lowest].takes == "signs":  # codes 0 and 2
        given = given.cast(np.int32) - 1
    entered = rule.enter() | {"counters": g.named("counters").cast(np.int64)}
    names = list(entered)

    def sample(i: Value, values: list[Value]) -> tuple[list[Value], list[Value]]:
        s, label = dict(zip(names, values, strict=True)), target.take(i)
        after, outputs = _one(g, frozen, rule, s, given.take(i), label)
        return [after[name] for name in names], outputs

    carried, (scores, report) = g.loop(target.length(), list(entered.values()), sample)
    left = dict(zip(names, carried, strict=True))
    counters = left.pop("counters")
    found = {"counters": counters} | rule.leave(left)
    outputs = [
        g.output("scores", scores.cast(np.int32), ["n", frozen.classes]),
        g.output("label", report.slice(0, 1, 1).reshape(-1), ["n"]),
        g.output("report", report, ["n", len(REPORT)]),
    ]
    state = g.arrays
    return outputs + [g.output(name + NEXT, v.cast(state[name].dtype), state[name].shape) for name, v in found.items()]


def _one(
    g: Graph, frozen: Frozen, rule: Rule, s: dict[str, Value], x: Value, label: Value
) -> tuple[dict[str, Value], list[Value]]:
    """One sample: the state after it, its scores and its report."""
    counters, names = s["counters"], list(s)
    scores = rule.scores(s, x)
    accepted = ~(label < 0) & (label < frozen.classes)
    label = label.clip(0, frozen.classes - 1)
    possible = rule.accepts(s, label)
    if possible is not None:
        accepted = accepted & possible
    zero = g.constant(0)

    def learn() -> list[Value]:
        steps = counters.take(0) + 1
        done = rule.learn({name: s[name] for name in names if name != "counters"}, x, scores, label, steps)
        counted = [g.constant(1), done.moved, done.flipped]
        ahead = (counters + g.concat(*(one.reshape(1) for one in counted))) & (2**32 - 1)
        after = done.state | {"counters": ahead}
        return [
            *(after[name] for name in names),
            1 - done.taught.cast(np.int64),
            done.visited,
            done.moved,
            done.flipped,
        ]

    found = g.choose(accepted, learn, lambda: [*s.values(), g.constant(1), zero, zero, zero])
    predicted = scores.cast(np.int32).argmax()
    entries = [predicted, *found[len(names) :], 1 - accepted.cast(np.int64)]
    report = g.concat(*(one.reshape(1) for one in entries))
    return dict(zip(names, found, strict=False)), [scores, report]
