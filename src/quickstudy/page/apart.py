"""ONNX graphs made in a process of their own.

While PyTorch's exporter runs it changes what every module of its process does, and so what other threads would answer.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.onnx_graph import Unexportable, graph

CODE = "import sys; sys.path[:] = {path!r}; from quickstudy.page.apart import answer; answer()"
"""What the process runs; what crosses between the two, and stays between them, is pickled."""


def graph_apart(
    net: nn.Module,
    inputs: Mapping[str, Tensor],
    axes: Mapping[str, Mapping[int, str]],
    output: str,
    about: Mapping[str, Any],
    *,
    seconds: float,
) -> bytes:
    """The ONNX file of a module, as `quickstudy.onnx_graph.graph` makes it, while other threads go on.

    Args:
        net, inputs, axes, output, about: See there.
        seconds: After which the process is ended.

    Raises:
        Unexportable: With the reason; or it took too long, or its classes cannot be found by another process.
        ImportError: The packages for ONNX are not installed.
    """
    try:
        asked = pickle.dumps((net, dict(inputs), dict(axes), output, dict(about)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Unexportable(f"another process cannot be given it ({error})") from None
    command = [sys.executable, "-c", CODE.format(path=sys.path)]
    try:
        ended = subprocess.run(command, input=asked, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Unexportable(f"it takes longer than {seconds:g} seconds") from None
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines() or [f"status {ended.returncode}"]
        raise Unexportable(f"the process that does so failed ({said[-1]})")
    found = pickle.loads(ended.stdout)
    if isinstance(found, Exception):
        raise found
    return found


def answer() -> None:
    """Makes the graph that standard input asks for, and writes it, or why there is none, to standard output."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print
    if hasattr(os, "nice"):
        os.nice(5)  # whoever waits for an answer goes first
    torch.set_num_threads(1)
    found: bytes | Exception
    try:
        found = graph(*pickle.load(sys.stdin.buffer))
    except (Unexportable, ImportError) as error:
        found = type(error)(str(error))
    with out:
        pickle.dump(found, out)
