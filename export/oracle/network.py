"""Networks of gates: docs/learning-rule.md, "Gates" to "Rows of a class", and "Units from nothing"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.frozen import Frozen, GatesLayer, HeadLayer, LevelsLayer, TriplesLayer
from metabit.export.oracle.forward import Bools, Ints, encode, signs
from metabit.export.oracle.gates import GateLayer, HeadValues, scores
from metabit.export.oracle.levels import learn_levels
from metabit.export.oracle.rows import ClassHead
from metabit.export.oracle.triples import values
from metabit.export.oracle.visits import Done, Visits


class Gates(Visits):
    """A network of any kind. ``head``: the head's state, None without a head."""

    def __init__(self, frozen: Frozen) -> None:
        super().__init__(frozen)
        last = frozen.layers[-1]
        self.head = ClassHead(last) if isinstance(last, HeadLayer) else None

    def forward(self, features: NDArray[Any]) -> tuple[list[Ints], list[Bools], Ints]:
        """As `Forward.forward`. The last of the inputs are the levels of the gates (N,), or the values of the head (H,)."""
        first = self.net.layers[0]
        if isinstance(first, TriplesLayer):
            given = values(first, features)
            return [features.astype(np.int64), given.astype(np.int64)], [np.zeros(0, np.bool_)], self.scored(given)
        if not isinstance(first, GatesLayer):
            return super().forward(features)
        x = encode(self.net.encode, features)
        sums = signs(self.levels[0]) @ x
        given = GateLayer(first.inputs, first.mul, first.add, first.shift).levels(sums)
        if self.head is not None:
            scale = self.head.layer.scale
            assert scale is not None
            given = HeadValues(**vars(scale)).values(sums, given)
        return [x, given.astype(np.int64)], [np.zeros(0, np.bool_)], self.scored(given)

    def scored(self, x: NDArray[Any]) -> Ints:
        """Scores int64 (C,) of what the last layer takes."""
        if self.head is not None:
            return self.head.scores(x.astype(np.int8))
        if isinstance(self.net.layers[-1], LevelsLayer):
            return scores(x.astype(np.int8), self.levels[-1]).astype(np.int64)
        return super().scored(x)

    def learn_by_levels(self, x: Ints, found: Ints, label: int, done: Done) -> bool:
        """The rest of a learning step of an output of levels. x: levels of the gates (N,); found: scores (C,).

        False if the sample is skipped.
        """
        last = self.net.layers[-1]
        assert isinstance(last, LevelsLayer) and last.rule is not None
        error = self.output_error(found, label)
        true_error = max(0, -int(error[label]))
        if true_error == 0 or true_error < self.net.skip_below:
            return False
        done.visited, done.moved = learn_levels(self.levels[-1], last.bits, last.rule, x, error, self.draw)
        return True
