"""Learning steps for engines outside metabit: the device's rule as a graph, with the state going in and coming out as arrays.

state.py          Frozen <-> the arrays that a step changes
onnx_train.py     Frozen -> model.train.onnx
onnx_graph.py     integer expressions -> nodes
onnx_forward.py   layers below those that learn
onnx_head.py      the head; onnx_levels.py, onnx_visits.py: the other rules
onnx_draws.py     the generator's draws, many at once
"""
