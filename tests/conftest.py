"""One thread per test process: small operations gain nothing from a second one."""

import torch

torch.set_num_threads(1)
