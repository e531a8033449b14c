"""Steps of learning, and tickets: all that a step needs of a sample, kept until its label comes (docs/telling.md)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

import metabit.runtime._core as _core
from metabit.runtime.inputs import InputError, Inputs
from metabit.runtime.states import States

_FROZEN = "nothing to learn: no layer of this image learns; export it with a learner, metabit export --learner"


def step_error(fault: _core.Fault) -> InputError:
    """The error of a step, from the binding's."""
    code, sentence = fault.args
    return InputError(_FROZEN if code == -24 else str(sentence))


class Step(NamedTuple):
    """The result of one learning step: the class predicted before it, and the synapses visited, moved and flipped."""

    predicted: int
    skipped: bool
    visited: int
    moved: int
    flipped: int


class Steps(NamedTuple):
    """The results of n learning steps: predicted, visited, moved and flipped are uint32 (n,), skipped is bool (n,)."""

    predicted: NDArray[np.uint32]
    skipped: NDArray[np.bool_]
    visited: NDArray[np.uint32]
    moved: NDArray[np.uint32]
    flipped: NDArray[np.uint32]

    @property
    def first(self) -> Step:
        """The first of them."""
        predicted, skipped, *counts = (column[0].item() for column in self)
        return Step(predicted, bool(skipped), *counts)


class Tickets(States):
    """Base of `Model`: predicting and learning from inputs or from tickets."""

    _core: _core.Model
    _takes: Inputs

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of classes."""

    @property
    def ticket_size(self) -> int:
        """Bytes of a ticket, at most `input_size`."""
        return self._core.ticket_size

    def ticket(self, x: ArrayLike) -> bytes:
        """Returns all that a learning step needs of one input, numbers (features,), for a label that comes late.

        It is what the lowest layer that learns takes, or the input itself where that is smaller: `ticket_size` bytes. It stays good
        however much is learnt meanwhile, and belongs to images of one `identity`.
        """
        return bytes(self.tickets(np.asarray(x)[None])[0])

    def tickets(self, x: ArrayLike) -> NDArray[np.uint8]:
        """Returns a ticket, uint8 (n, ticket_size), of each of the inputs (n, features)."""
        inputs = self._takes.device(x)
        found = np.empty((len(inputs), self.ticket_size), np.uint8)
        self._core.ticket_many(inputs, found)
        return found

    def predict_tickets(self, tickets: ArrayLike) -> NDArray[np.uint16]:
        """Returns classes, uint16 (n,), of tickets, uint8 (n, ticket_size), as `predict_many` does of their inputs.

        Raises InputError: not tickets of this image.
        """
        return self._predicted(self._core.predict_tickets, self._checked_tickets(tickets))[1]

    def learn_ticket(self, ticket: bytes, y: int) -> Step:
        """Makes one learning step on a ticket and its label: the same bytes of state as `learn_one` leaves on the input.

        Raises InputError: not a ticket of this image, or no label of it.
        """
        return self.learn_tickets(np.frombuffer(ticket, np.uint8)[None], [y]).first

    def learn_tickets(self, tickets: ArrayLike, y: ArrayLike) -> Steps:
        """Makes one learning step for each ticket, in order: uint8 (n, ticket_size), labels (n,) in 0..classes-1.

        Raises InputError: tickets of another size, which are found before the first step, or with a value that this image cannot
        give, which are found in their turn.
        """
        return self._learnt(self._core.learn_tickets, self._checked_tickets(tickets), y)

    def _checked_tickets(self, tickets: ArrayLike) -> NDArray[np.uint8]:
        a = np.asarray(tickets)
        if a.ndim != 2 or a.shape[1] != self.ticket_size or a.dtype != np.uint8:
            raise InputError(
                f"tickets are {a.dtype} {a.shape}, they must be uint8 (n, {self.ticket_size}): take them from Model.tickets"
            )
        return np.ascontiguousarray(a)

    def _predicted(
        self,
        predict: Callable[[NDArray[np.uint8], NDArray[np.int32], NDArray[np.uint16]], None],
        samples: NDArray[np.uint8],
    ) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Returns scores, int32 (n, classes), and labels, uint16 (n,)."""
        scores = np.empty((len(samples), self.classes), np.int32)
        labels = np.empty(len(samples), np.uint16)
        try:
            predict(samples, scores, labels)
        except _core.Fault as fault:
            raise InputError(str(fault.args[1])) from None
        return scores, labels

    def _learnt(
        self,
        learn: Callable[[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint32]], None],
        samples: NDArray[np.uint8],
        y: ArrayLike,
    ) -> Steps:
        labels = self._labels(y, len(samples))
        info = np.empty((len(samples), 5), np.uint32)
        try:
            learn(samples, labels, info)
        except _core.Fault as fault:
            raise step_error(fault) from None
        return Steps(info[:, 0], info[:, 1].astype(np.bool_), info[:, 2], info[:, 3], info[:, 4])

    def _labels(self, y: ArrayLike, n: int) -> NDArray[np.uint16]:
        a = np.asarray(y)
        if a.shape != (n,):
            raise InputError(f"labels have shape {a.shape}, {n} inputs need ({n},)")
        if n and (a.dtype.kind not in "iu"):
            raise InputError(f"labels are {a.dtype}, they must be integers 0..{self.classes - 1}")
        if n and (int(a.min()) < 0 or int(a.max()) >= self.classes):
            wrong = int(a.min()) if int(a.min()) < 0 else int(a.max())
            raise InputError(f"label {wrong} is outside 0..{self.classes - 1}: this model has {self.classes} classes")
        return np.ascontiguousarray(a, np.uint16)
