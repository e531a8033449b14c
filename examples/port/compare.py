# compare.py: sends samples to a port, to learn and to predict, and compares its answers with those of this computer.
# --restart PROGRAM: ends it then, starts it again and sends the samples to predict; a port that saves in flash answers as before
import contextlib
import subprocess
import sys
import threading

from metabit.experiments.stream import open_task
from metabit.export import read_image
from metabit.runtime import Model

LIMIT = 60.0  # seconds for all answers


def compare(program, sent, expected):
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as port:
        limit = threading.Timer(LIMIT, port.kill)
        limit.start()
        with contextlib.suppress(BrokenPipeError):  # a program that ended early has answered too little
            port.stdin.write(sent)
            port.stdin.close()
        answers = list(port.stdout.read(len(expected)))
        limit.cancel()
        port.kill()
    for i, answer in enumerate(expected):
        told = f"is {answers[i]}" if i < len(answers) else f"did not come, the limit is {LIMIT:.0f} s"
        if answers[i : i + 1] != [answer]:
            sys.exit(
                f"answer {i + 1} of the port {told}, this computer's is {answer}: the port holds another image (run metabit "
                "sources and compile again), has learnt before (delete its flash file), or is a program for another core"
            )
    print(f"{len(answers)} answers are equal")


image, data, *program = sys.argv[1:]
restart = program[0] == "--restart"
program = program[restart:]
model = Model.open(image)
task = open_task(data, read_image(model.image()))
samples, labels = model.device_bytes(task.x_train[:100]), task.y_train[:100]
sent, expected = b"", [0]  # the first byte says that the image was accepted
for x, label in zip(samples, labels, strict=True):
    sent += b"l" + x.tobytes() + bytes([label]) + b"p" + x.tobytes()
    expected += [model.learn_one(x, label).predicted, model.predict_one(x)]
compare(program, sent, expected)
if restart:
    compare(program, b"".join(b"p" + x.tobytes() for x in samples), [0, *map(model.predict_one, samples)])
