"""Lets tests import their helpers by name: pytest's importlib mode leaves sys.path alone."""

import signal
import sys
from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell without job control: Ctrl-C would be ignored here and in every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)

for helpers in (".", "export"):  # networks.py; frozen_reference.py
    sys.path.insert(0, str(Path(__file__).parent / helpers))
