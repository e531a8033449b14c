"""Learning steps for engines outside metabit: the device's rule as a graph, with the state as named arrays.

state.py            Frozen <-> the arrays that a step changes
tflite_train.py     Frozen -> model.train.tflite; tflite_learner.py runs it
tflite_values.py    integer expressions -> operators
tflite_head.py      the head's step; tflite_levels.py, tflite_backward.py and tflite_visits.py: the other rules
tflite_error.py     the error of a sample; tflite_draws.py: the generator's draws, many at once
"""

from metabit.export.learning.state import State, state_into, state_of
from metabit.export.learning.tflite_learner import TfliteLearner
from metabit.export.learning.tflite_train import write_tflite_train

__all__ = ["State", "TfliteLearner", "state_into", "state_of", "write_tflite_train"]
