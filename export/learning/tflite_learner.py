"""Reading model.train.tflite, and learning with it in a TFLite runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.export.errors import ExportError, need_rows
from metabit.export.files.tflite_file import _runtime, check_runnable
from metabit.export.files.tflite_reader import network_of
from metabit.export.frozen import Frozen
from metabit.export.learning.state import State, state_into, state_of
from metabit.export.learning.steps import REPORT, TRAINS, Steps, all_learnt, needs_steps, targets
from metabit.export.learning.tflite_train import state_of_variables, stored, write_tflite_train


class TfliteLearner:
    """A network that predicts and learns in a TFLite runtime, on one thread. It begins with the state of the file.

    data: the bytes of model.train.tflite. interpreter: the module of the runtime; by default tflite_runtime.interpreter, or
    ai_edge_litert.interpreter where that is absent.

    Raises MissingExtra without a TFLite runtime, ExportError if the file is no training file of metabit.
    """

    def __init__(self, data: bytes, interpreter: Any = None) -> None:
        self.written = read_tflite_train(data)
        self._interpreter = (interpreter or _runtime()).Interpreter(model_content=data, num_threads=1)
        names = ("infer", "train", "save", "restore")
        self._call = {name: self._interpreter.get_signature_runner(name) for name in names}
        ((self._source, details),) = self._call["infer"].get_input_details().items()
        self._width, self._dtype = int(details["shape"][1]), np.dtype(details["dtype"])

    def learn(self, x: NDArray[Any], y: ArrayLike) -> Steps:
        """Learns samples one after the other; each is predicted before its step.

        x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits. y: their classes (n,), 0..C-1.

        Raises ExportError, and learns none of them, if x or y has another shape, dtype or range, or if a head has no row left.
        """
        self._check(x)
        target, before = targets(y, len(x), self.written.classes), self.state()
        steps = Steps(
            np.empty((len(x), self.written.classes), np.int32),
            np.empty(len(x), np.int64),
            np.empty((len(x), len(REPORT)), np.int64),
        )
        for i, label in enumerate(target.astype(np.int32)):
            found = self._call["train"](**{self._source: x[i : i + 1], "target": label[None]})
            steps.scores[i], steps.labels[i], steps.report[i] = found["scores"], found["label"][0], found["report"]
        try:
            all_learnt(steps, target)
        except ExportError:
            self.restore(before)
            raise
        return steps

    def scores(self, x: NDArray[Any]) -> NDArray[np.int32]:
        """Scores int32 (n, C) of samples as `learn` takes them; nothing is learnt."""
        self._check(x)
        if not len(x):  # some networks would divide by zero in TFLite, which ends the process
            return np.empty((0, self.written.classes), np.int32)
        return np.array(self._call["infer"](**{self._source: x})["scores"], np.int32)

    def state(self) -> State:
        """The arrays of `metabit.export.learning.state` after the last step."""
        return state_of_variables(self.written, self._call["save"]())

    def restore(self, state: State) -> None:
        """Goes on from a state that `state` gave. Raises ExportError if it is of another network; nothing changes then."""
        state_into(self.written, state)
        self._call["restore"](**stored({name: state[name] for name in state_of(self.written)}))

    def frozen(self) -> Frozen:
        """The network with what it has learnt, ready for `write_image`."""
        return state_into(self.written, self.state())

    def _check(self, x: NDArray[Any]) -> None:
        need_rows(self._source, x, self._dtype, self._width)


def read_tflite_train(data: bytes) -> Frozen:
    """The network inside a file that `write_tflite_train` wrote, with the state that a first step begins with.

    Raises ExportError if the file is not one of ours, was damaged or changed, or holds no learning step; MissingExtra without
    flatbuffers, by which it is written again and compared.
    """
    frozen, pages = network_of(data, TRAINS)
    needs_steps(pages, "tflite")
    check_runnable(data, write_tflite_train)
    return frozen


def run_tflite_train(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, C) by a TFLite runtime, of the state in the file. Raises as `TfliteLearner`."""
    return TfliteLearner(data).scores(x)


def learn_tflite_train(data: bytes, x: NDArray[Any], y: NDArray[np.int64]) -> Frozen:
    """The network after it has learnt these samples in a TFLite runtime. Raises as `TfliteLearner.learn`."""
    learner = TfliteLearner(data)
    learner.learn(x, y)
    return learner.frozen()
