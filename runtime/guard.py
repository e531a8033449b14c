"""The guard on the host: learning that watches itself, by the C of the device (metabit_guard.h is the manual)."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

import metabit.runtime._core as _core
from metabit.runtime.telling import ModelError
from metabit.runtime.tickets import Steps, Tickets

STATUS = ("watching", "stopped", "rolled back")
REASON = ("", "forgot", "labels")


class Report(NamedTuple):
    """The report of a guard.

    Args:
        status: "watching", "stopped" or "rolled back". In the latter two the model does not learn.
        reason: "" while it watches; "forgot" where too many guard samples became wrong, "labels" where the running accuracy was
            too low for too long.
        learnt, refused: steps; refused ones had the same input, or for some learners the same label, as the last ones.
        tests: whole tests; right: guard samples that were right in the last one.
        saves: good states that were kept; ends: how often learning ended.
        slow, fast: running accuracy, 0..1, of about the last 128 and 32 labelled samples.
    """

    status: str
    reason: str
    learnt: int
    refused: int
    tests: int
    right: int
    saves: int
    ends: int
    slow: float
    fast: float

    @property
    def sentence(self) -> str:
        """Status and counts, for people."""
        why = {
            "forgot": ", because guard samples became wrong",
            "labels": ", because labels disagreed with predictions for long",
        }
        counts = f"{self.learnt:,} steps learnt, {self.refused:,} refused, learning ended {self.ends} times"
        return f"{self.status}{why.get(self.reason, '')}; {counts}; {self.right} guard samples right in the last test"


class Guard:
    """Learning with a guard: `learn_many` in place of the model's own.

    Args:
        model: learns, and predicts as ever.
        data: bytes of model.guard.bin, which `metabit export --guard` writes beside the image.
        keep: True: the last good state returns when learning ends. False: the state stays as it is then.

    Raises:
        ModelError: the guard data are damaged or of another image, or nothing learns.
    """

    def __init__(self, model: Tickets, data: bytes, *, keep: bool = True) -> None:
        self._model = model
        try:
            self._core = _core.Guard(model._core, data, keep)
        except _core.Fault as fault:
            raise ModelError(str(fault.args[1]), int(fault.args[0])) from None

    def learn_many(self, x: ArrayLike, y: ArrayLike) -> Steps:
        """As `Model.learn_many`; a step is ``skipped`` where it was refused or learning has ended."""
        return self._model._learnt(self._core.learn_many, self._model._takes.device(x), y)

    def learn_tickets(self, tickets: ArrayLike, y: ArrayLike) -> Steps:
        """As `Model.learn_tickets`."""
        return self._model._learnt(self._core.learn_tickets, self._model._checked_tickets(tickets), y)

    def resume(self) -> None:
        """Lets the model learn again, from the state that it has. Raises RuntimeError while another thread learns or predicts."""
        self._core.resume()

    @property
    def report(self) -> Report:
        """Status and counts until now."""
        status, reason, learnt, refused, tests, right, saves, ends, slow, fast = self._core.report
        counts = (learnt, refused, tests, right, saves, ends)
        return Report(STATUS[status], REASON[reason], *counts, slow / 2**16, fast / 2**16)
