"""Learning by TFLite: the signatures of model.train.tflite behind three verbs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.tflite_file import _runtime, read_tflite
from metabit.export.frozen import Frozen
from metabit.export.learning.state import State, state_into, state_of
from metabit.export.learning.tflite_train import stored
from metabit.export.oracle import Step


class TfliteLearner:
    """A network that predicts and learns in a TFLite runtime, on one thread.

    Args:
        data: the bytes of model.train.tflite.

    Raises MissingExtra without a TFLite runtime, ExportError if the file is not one of ours or has no learning step.
    """

    def __init__(self, data: bytes, interpreter: Any = None) -> None:
        self._first = read_tflite(data)
        self._like = state_of(self._first)
        module = interpreter or _runtime()
        self._interpreter = module.Interpreter(model_content=data, num_threads=1)
        found = self._interpreter.get_signature_list()
        if "train" not in found:
            raise ExportError("this TFLite file has no learning step: export the network with --formats tflite-train")
        self._call = {name: self._interpreter.get_signature_runner(name) for name in found}
        ((self._input, details),) = self._call["infer"].get_input_details().items()
        self._width, self._dtype = int(details["shape"][1]), np.dtype(details["dtype"])

    def scores(self, x: NDArray[Any]) -> NDArray[np.int32]:
        """Scores int32 (n, C) of inputs (n, F) as `metabit.export.files.tflite_file.run_tflite` takes them."""
        self._check(x)
        if not len(x):
            return np.empty((0, self._first.classes), np.int32)
        return np.asarray(self._call["infer"](**{self._input: x})["scores"], np.int32)

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> list[Step]:
        """Learns samples (n, F) of classes (n,), one after the other, and returns a report of each.

        Raises ExportError for another shape or dtype, or a class that is not one of the network's; nothing is learnt then. If a head
        has no row left for a class, the samples before that one are learnt.
        """
        self._check(x)
        labels = np.asarray(y)
        if labels.shape != x.shape[:1] or labels.dtype.kind not in "iu":
            raise ExportError(f"labels must be integers ({len(x)},), not {labels.dtype} {labels.shape}")
        wrong = np.flatnonzero((labels < 0) | (labels >= self._first.classes))
        if len(wrong):
            raise ExportError(f"label {labels[wrong[0]]} is none of 0..{self._first.classes - 1}: make more classes")
        done = []
        for sample, label in zip(x, labels.astype(np.int32), strict=True):
            found = self._call["train"](**{self._input: sample[None], "truth": label[None]})
            skipped, visited, moved, flipped, refused = found["report"].tolist()
            if refused:
                raise ExportError(f"class {label} has no row, and all rows are taken: make more rows")
            done.append(Step(int(found["label"][0]), bool(skipped), visited, moved, flipped))
        return done

    def state(self) -> State:
        """All that learning changes, by the names of `metabit.export.learning.state`."""
        found = self._call["save"]()
        return {name: np.array(found[name]).view(like.dtype).reshape(like.shape) for name, like in self._like.items()}

    def restore(self, state: State) -> None:
        """Goes on from a state that `state` gave. Raises ExportError if it is of another network; nothing changes then."""
        state_into(self._first, state)
        self._call["restore"](**stored({name: state[name] for name in self._like}))

    def frozen(self) -> Frozen:
        """The network with what it has learnt, ready for `metabit.export.write_image`."""
        return state_into(self._first, self.state())

    def _check(self, x: NDArray[Any]) -> None:
        if x.dtype != self._dtype or x.ndim != 2 or x.shape[1] != self._width:
            raise ExportError(f"{self._input} must be {self._dtype} (n, {self._width}), not {x.dtype} {x.shape}")
