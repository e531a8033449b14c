"""Learning steps for engines outside metabit: the device's rule as a graph, with the state as named arrays.

state.py          Frozen <-> the arrays that a step changes; steps.py: the report of each sample
onnx_train.py     Frozen -> model.train.onnx; onnx_runner.py reads and runs it
onnx_graph.py     integer expressions -> nodes
onnx_forward.py   layers below those that learn; onnx_planes.py: bit planes and levels
onnx_rule.py      what the graph needs of a rule
onnx_head.py      the head; onnx_levels.py, onnx_visits.py: the other rules
onnx_error.py     the error of a sample; onnx_draws.py: the generator's draws, many at once
tflite_train.py   Frozen -> model.train.tflite; tflite_learner.py reads and runs it
tflite_values.py  integer expressions -> operators
tflite_head.py    the head; tflite_levels.py, tflite_backward.py and tflite_visits.py: the other rules
tflite_error.py   the error of a sample; tflite_draws.py: the generator's draws, many at once
"""

from metabit.export.learning.onnx_runner import OnnxLearner, read_onnx_train
from metabit.export.learning.onnx_train import write_onnx_train
from metabit.export.learning.state import State, state_into, state_of
from metabit.export.learning.steps import Steps
from metabit.export.learning.tflite_learner import TfliteLearner, read_tflite_train
from metabit.export.learning.tflite_train import state_of_variables, write_tflite_train

__all__ = [
    "OnnxLearner", "State", "Steps", "TfliteLearner", "read_onnx_train", "read_tflite_train", "state_into", "state_of",
    "state_of_variables", "write_onnx_train", "write_tflite_train",
]  # fmt: skip
