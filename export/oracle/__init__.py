"""The oracle: prediction and learning of a frozen network in plain NumPy integers, which every engine must equal in every bit.

It is written from docs/learning-rule.md alone, section by section, and slow on purpose. It shares no arithmetic with the C runtime.

    forward.py    input, sums, images, scores     Forward
    visits.py     error, backward, update         Visits(Forward), the visit rule
    gates.py      gates and their constants       GateLayer, HeadValues, scores
    triples.py    units from nothing              values
    head.py       the head                        Head, of rows
    rows.py       rows of a class                 ClassHead, of classes
    network.py    networks of gates               Gates(Visits), with an output of levels or a head
    votes.py      graded units and votes          Oracle(Gates), every rule; callers import this class
"""

from metabit.export.oracle.votes import Oracle, Step

__all__ = ["Oracle", "Step"]
