# compare.py: sends samples to a port, to learn and to predict, and compares its answers with those of this computer
import contextlib
import subprocess
import sys

from metabit.experiments.stream import open_task
from metabit.export import read_image
from metabit.runtime import Model

image, data, *program = sys.argv[1:]
model = Model.open(image)
task = open_task(data, read_image(model.image()))
sent, expected = b"", [0]  # the first byte says that the image was accepted
for x, label in zip(model.device_bytes(task.x_train[:100]), task.y_train[:100], strict=True):
    sent += b"l" + x.tobytes() + bytes([label]) + b"p" + x.tobytes()
    expected += [model.learn_one(x, label).predicted, model.predict_one(x)]
with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as port:
    with contextlib.suppress(BrokenPipeError):  # a program that ended early has answered too little
        port.stdin.write(sent)
        port.stdin.close()
    answers = list(port.stdout.read(len(expected)))
    port.kill()
if answers != expected:
    sys.exit(f"the port answers {answers}, this computer {expected}")
print(f"{len(answers)} answers are equal")
