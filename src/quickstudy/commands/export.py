"""The command that writes ONNX files."""

from pathlib import Path
from typing import Annotated

import typer

from quickstudy.commands.console import out, spare
from quickstudy.export import export_adaptation, export_classifier
from quickstudy.regressor import FewShotRegressor
from quickstudy.shipping import load_task


def export_command(
    source: Annotated[str, typer.Argument(help="An adapted task; with --adaptation a run's folder, or table.")],
    file: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    adaptation: Annotated[bool, typer.Option("--adaptation", help="Export the learner itself, which learns.")] = False,
    ways: Annotated[int | None, typer.Option(help="With --adaptation: classes of a task.")] = None,
    shots: Annotated[
        float | None, typer.Option(help="With --adaptation: examples per class, roughly; sets the temperature.")
    ] = None,
) -> None:
    """Write an adapted task as an ONNX file, or a learner that goes on learning where there is no PyTorch.

    Example: quickstudy export task.safetensors task.onnx

    Example: quickstudy export table table.onnx --adaptation --ways 3 --shots 5
    """
    spare(file, "the second argument", {"the task": [Path(source)]})
    if adaptation:
        if ways is None:
            raise ValueError("how many classes will a task have? Pass --ways.")
        export_adaptation(source, file, ways=ways, shots=shots)
    else:
        if ways is not None or shots is not None:
            raise ValueError("--ways and --shots are for a learner that learns anew: pass --adaptation with them.")
        if not Path(source).is_file():
            raise ValueError(
                f"{source} is no file of an adapted task. Write one with `quickstudy adapt`, or pass --adaptation to "
                f"export a learner."
            )
        fitted = load_task(source)
        if isinstance(fitted, FewShotRegressor):
            raise ValueError(f"{source} tells numbers, and only tasks of classes are exported.")
        export_classifier(fitted, file)
    out.print(f"written to {file}", soft_wrap=True)
