"""Lets tests import their helpers by name: pytest's importlib mode leaves sys.path alone."""

import sys
from pathlib import Path

for helpers in (".", "export"):  # networks.py; frozen_reference.py
    sys.path.insert(0, str(Path(__file__).parent / helpers))
