"""Which methods can be exported to ONNX, with their defaults, and how far the files' answers are from PyTorch's.

python benchmarks/export.py              # all methods of the catalogue, as a table in Markdown
python benchmarks/export.py maml,r2d2    # some
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import quickstudy as qs
from quickstudy.catalogue import METHODS, Setting, build

SETTING = Setting(size=16, ways=3, shots=2, classes=6)
SHAPE = (SETTING.channels, SETTING.size, SETTING.size)


def pictures(examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise around one pattern for each class."""
    draw, labels = np.random.default_rng(seed), np.arange(examples) % SETTING.ways
    patterns = np.random.default_rng(0).random((SETTING.ways, *SHAPE))
    return (0.5 * patterns[labels] + 0.5 * draw.random((examples, *SHAPE))).astype(np.float32), labels


def outcome(export: Callable[[Path], None], feed: dict[str, np.ndarray], expected: np.ndarray) -> str:
    """The largest difference from PyTorch's probabilities, or why there is no file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "exported.onnx"
        try:
            export(file)
        except ValueError as error:
            return "no: " + str(error).split("cannot be exported: ")[-1].split(". ")[0].rstrip(".")
        answers = np.asarray(onnxruntime.InferenceSession(file).run(None, feed)[0])
    return f"yes, {np.abs(answers - expected).max():.0e}"


def main() -> None:
    names = sys.argv[1].split(",") if len(sys.argv) > 1 else list(METHODS)
    print("| method | a task that was learned | the learning itself |\n|---|---|---|")
    (x, y), (queries, _) = pictures(8, seed=1), pictures(11, seed=2)
    for name in names:
        torch.manual_seed(0)
        learner = build(name, SETTING)
        fitted = qs.FewShotClassifier(learner).fit(x, y)
        expected = fitted.predict_proba(queries)
        learned = outcome(lambda file, f=fitted: qs.export_classifier(f, file, shape=SHAPE), {"x": queries}, expected)
        learning = outcome(
            lambda file, o=learner: qs.export_adaptation(o, file, ways=SETTING.ways, shape=SHAPE),
            {"support_x": x, "support_y": y, "x": queries},
            expected,
        )
        print(f"| {METHODS[name].title} (`{name}`) | {learned} | {learning} |", flush=True)


if __name__ == "__main__":
    main()
