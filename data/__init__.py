"""What there is to learn: names and files -> arrays, checked.

task.py         Task: uint8 features and integer labels, of a name, a file or arrays
csv_files.py    CSV tables
download.py     public data sets, fetched once and verified by hash
wrist_imu.py    exercises on a wrist, one person a task
scenarios.py    sequences of tasks, a table by name
rows.py         files written whole, and tables of JSON lines
"""

from metabit.data.errors import DataError, MissingExtraError
from metabit.data.scenarios import SCENARIOS, Scenario, scenario
from metabit.data.task import Task, from_arrays, thermometer
from metabit.data.task import load as load_task

__all__ = [
    "SCENARIOS",
    "DataError",
    "MissingExtraError",
    "Scenario",
    "Task",
    "from_arrays",
    "load_task",
    "scenario",
    "thermometer",
]
