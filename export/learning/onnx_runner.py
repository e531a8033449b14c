"""Reading model.train.onnx, and learning with it in onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.export.errors import need_rows
from metabit.export.files import onnx_reader
from metabit.export.files.interchange import FACTS, rebuild
from metabit.export.files.onnx_file import dtype_of, session
from metabit.export.frozen import Frozen
from metabit.export.learning.onnx_train import NEXT, PREDICT_ONLY
from metabit.export.learning.state import State, state_into
from metabit.export.learning.steps import Steps, all_learnt, needs_steps, targets


class OnnxLearner:
    """A network that predicts and learns in onnxruntime, on one thread unless told otherwise. It begins with the state of the file.

    Raises MissingExtra without onnxruntime, ExportError if the file is no training file of metabit.
    """

    def __init__(self, data: bytes, threads: int = 1) -> None:
        self.written = read_onnx_train(data)
        # each default state would be a warning: it is meant to be replaced
        self._session = session(data, threads, log_severity=3)
        self._source = self._session.get_inputs()[0]
        self._names = ["scores", "label", "report"]
        self._names += [value.name for value in self._session.get_outputs() if value.name.endswith(NEXT)]
        self._state: State = {}

    def learn(self, x: NDArray[Any], y: ArrayLike) -> Steps:
        """Learns samples one after the other; each is predicted before its step.

        x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits. y: their classes (n,), 0..C-1.

        Raises ExportError, and learns none of them, if x or y has another shape, dtype or range, or if a head has no row left.
        """
        target = targets(y, len(x), self.written.classes)
        steps, state = self._run(x, target)
        all_learnt(steps, target)
        self._state = state
        return steps

    def scores(self, x: NDArray[Any]) -> NDArray[np.int32]:
        """Scores int32 (n, C) of samples as `learn` takes them; nothing is learnt."""
        return self._run(x, np.full(len(x), PREDICT_ONLY))[0].scores

    def state(self) -> State:
        """The arrays of `metabit.export.learning.state` after the last step."""
        if not self._state:
            none = np.zeros((1, self._source.shape[1]), dtype_of(self._source))
            self._state = self._run(none, np.full(1, PREDICT_ONLY))[1]
        return {name: array.copy() for name, array in self._state.items()}

    def frozen(self) -> Frozen:
        """The network with what it has learnt, ready for `write_image`."""
        return state_into(self.written, self.state())

    def _run(self, x: NDArray[Any], target: NDArray[np.int64]) -> tuple[Steps, State]:
        need_rows(self._source.name, x, dtype_of(self._source), self._source.shape[1])
        given = {self._source.name: x, "target": target, **self._state}
        out = dict(zip(self._names, self._session.run(self._names, given), strict=True))
        scores, label, report = (out.pop(name) for name in ("scores", "label", "report"))
        steps = Steps(scores.reshape(len(x), self.written.classes), label, report)  # no sample gives scores of one axis
        return steps, {name.removesuffix(NEXT): np.asarray(array) for name, array in out.items()}


def read_onnx_train(data: bytes) -> Frozen:
    """The network inside a model that `write_onnx_train` wrote, with the state that a first step begins with.

    Raises MissingExtra without onnx, ExportError if the file is not one of ours or holds no learning step.
    """
    model = onnx_reader.parse(data)
    pages, arrays = onnx_reader.pages(model), onnx_reader.arrays(model)
    needs_steps(pages, "onnx")
    return state_into(rebuild(pages[FACTS], arrays), arrays)


def run_onnx_train(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, C) by onnxruntime, of the state in the file. Raises as `OnnxLearner`."""
    return OnnxLearner(data).scores(x)


def learn_onnx_train(data: bytes, x: NDArray[Any], y: NDArray[np.int64]) -> Frozen:
    """The network after it has learnt these samples in onnxruntime. Raises as `OnnxLearner.learn`."""
    learner = OnnxLearner(data)
    learner.learn(x, y)
    return learner.frozen()
