"""What a measurement was made on."""

import platform
import time
from pathlib import Path

import torch


def device(kind: str) -> str:
    """The name of what computes: a GPU, or the processor."""
    return torch.cuda.get_device_name() if kind == "cuda" else processor()


def processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1] for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    )
    return " ".join(names[0].replace("(R)", "").split()) if names else platform.machine()


def measured(start: float) -> str:
    """What stands below a table: the processor, and the minutes since a reading of `time.monotonic`."""
    return f"{processor()}, {(time.monotonic() - start) / 60:.1f} minutes."
