"""One thread: the networks here are too small to share, and threads that wait for each other slow a busy machine."""

import torch

torch.set_num_threads(1)
