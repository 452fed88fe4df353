"""A module as the bytes of an ONNX file, or one sentence on why it cannot be one."""

import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

REASONS = (
    (r"does not require grad", "it takes gradients, and ONNX has none"),
    (r"No ONNX function found for <OpOverload\(op='([\w.]+)'", "ONNX has no operator for PyTorch's {}"),
    (r"Constraints violated \((\w+)", "no one graph is right for every number of {} examples"),
    (r"\.numpy\(\)", "it leaves PyTorch for numpy on its way"),
    (r"Generator", "it draws random numbers"),
)
"""What PyTorch says when it cannot export, as regular expressions, and what that means."""


class Unexportable(ValueError):
    """Something that no ONNX file can hold; it says why."""


def graph(
    net: nn.Module,
    inputs: Mapping[str, Tensor],
    axes: Mapping[str, Mapping[int, str]],
    output: str,
    about: Mapping[str, Any],
) -> bytes:
    """The ONNX file of a module in evaluation mode.

    Args:
        net: From the inputs to one tensor.
        inputs: Examples of them, by name, in their order.
        axes: Of each input, the axes of any length, by name; equal names are equal lengths.
        output: The name of what comes out.
        about: Metadata, each entry of which is written as JSON.

    Raises:
        Unexportable: With the reason.
        ImportError: The packages for ONNX are not installed.
    """
    try:
        from quickstudy.onnx_operators import TRANSLATIONS  # here, as onnxscript is an extra, and slow to import
    except ImportError as error:
        raise ImportError(f"ONNX files need onnx and onnxscript ({error}): pip install 'quickstudy[onnx]'.") from None
    dims = {name: Dim(name) for places in axes.values() for name in places.values()}
    shapes = [{place: dims[name] for place, name in axes[one].items()} for one in inputs]
    try:
        with quiet():
            with torch.inference_mode():  # where gradients fail in a way that tells
                net(*inputs.values())
            with torch.no_grad():
                program = torch.export.export(net, tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
                translated = torch.onnx.export(
                    program,
                    dynamo=True,
                    verbose=False,
                    input_names=list(inputs),
                    output_names=[output],
                    dynamic_shapes=[dict(axes[one]) for one in inputs],  # for the names of axes
                    custom_translation_table=dict(TRANSLATIONS),
                )
    except Exception as error:  # of some twenty kinds, from the depths of PyTorch
        raise Unexportable(reason(error)) from error
    assert translated is not None
    model = translated.model
    model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    return translated.model_proto.SerializeToString()


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporters say of themselves: packages that they could use, what they leave as it is."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: .* will not be used, since it shares", UserWarning)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def reason(error: BaseException | None) -> str:
    """Why something cannot be exported, from all that was said on the way."""
    said = []
    while error is not None:
        said.append(str(error).strip())
        error = error.__cause__ or error.__context__
    for pattern, meaning in REASONS:
        if found := re.search(pattern, "\n".join(said)):
            return meaning.format(*found.groups())
    return f"PyTorch cannot export it ({said[-1].splitlines()[0] if said[-1] else 'it does not say why'})"
