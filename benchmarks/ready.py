"""The learners that ship with quickstudy: trains them, and tests them beside simple classifiers on the same features.

    python benchmarks/ready.py train NAME --data-dir DIR     writes src/quickstudy/learners/NAME.safetensors
    python benchmarks/ready.py test NAME --data-dir DIR      writes benchmarks/results/ready-NAME.json
    python benchmarks/ready.py table NAME                    prints the tables of docs/learners.md

Names are table, images, text, molecules and handwriting. The last is trained by `race.py run omniglot protonet`, whose
folder is named by --run. Embeddings are kept in the folder --kept. Nothing was trained, chosen or calibrated on what is
tested on.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from machine import processor
from ready_data import Distribution, distribution, folds
from ready_tables import RESULTS, written
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import conformal
from quickstudy.checkpoint import load_learner, save_learner
from quickstudy.conformal import Calibration, answered, calibrate, of_own, share_less_unlike, unlike_of
from quickstudy.data.tables import tables
from quickstudy.encoders.background import Background, MoleculeFeatures
from quickstudy.evaluation import episode_list
from quickstudy.none_of_these import SOFTMAX, area, without_last
from quickstudy.shipped import SHIPPED
from quickstudy.tasks import Tasks
from quickstudy.tensors import known
from quickstudy.training import adam

LEARNERS = Path(qs.__file__).parent / "learners"
NAMES = ("table", "images", "text", "molecules", "handwriting")
STEPS = {"table": 3000, "images": 600, "text": 600, "molecules": 600}
RATES = {"table": 0.02, "images": 0.01, "text": 0.01, "molecules": 0.01}
BATCH, MEASURED, DRAWS, SHOTS, MISSED = 8, (1, 2, 3, 5, 10), 200, (1, 5, 10), 0.1


def train(name: str, data_dir: Path | None, kept: Path, run: Path | None) -> None:
    """On training tasks; calibrated on others, those of tables in folds by learners that have not seen them."""
    start = time.monotonic()
    if name == "table":
        learner = trained(name, qs.TableRows(tables(data_dir)[0], shots=(1, 10), queries=5), STEPS[name])
        parts = [(trained(name, qs.TableRows(most, shots=(1, 10), queries=5), STEPS[name] // 3), some)
                 for most, some in folds(data_dir)]  # fmt: skip
        measured = {shots: mean([calibrate(one, qs.TableRows(some, shots=shots, queries=5)) for one, some in parts])
                    for shots in MEASURED}  # fmt: skip
    else:
        tasks = distribution(name, data_dir, kept)
        learner = trained(name, tasks.training, STEPS[name], tasks) if name in STEPS else raced(run)
        measured = {shots: calibrate(learner, tasks.calibrating(shots)) for shots in MEASURED}
    about = {"calibrations": {shots: found._asdict() for shots, found in measured.items()}, "seed": 0}
    save_learner(learner.double() if name == "table" else learner, LEARNERS / f"{name}.safetensors", about)
    print({shots: round(found.temperature, 3) for shots, found in measured.items()}, since(start), "minutes")


def trained(name: str, training: Tasks, steps: int, about: Distribution | None = None) -> qs.MetaLearner:
    """On tasks of 1 to 10 examples of each class."""
    torch.manual_seed(0)
    learner = SHIPPED[name][0]().float()
    if about and about.data and isinstance(learner.encoder, Background):
        learner.encoder.fit(*about.data)
    elif about and about.data and isinstance(learner.encoder, MoleculeFeatures):
        learner.encoder.fit(about.data[0])
    optimizer, scheduler = adam(learner, RATES[name], steps)
    for _ in qs.train(learner, training, steps=steps, batch=BATCH, optimizer=optimizer, scheduler=scheduler):
        pass
    return learner.eval()


def raced(run: Path | None) -> qs.MetaLearner:
    assert run, "which folder did race.py write? Name it by --run"
    learner = SHIPPED["handwriting"][0]()
    load_learner(learner, run / "learner.safetensors")
    return learner.eval()


def mean(found: list[Calibration]) -> Calibration:
    """Of folds: the geometric mean of temperatures, and the mean of each quantile."""
    temperature = float(np.exp(np.mean(np.log([one.temperature for one in found]))))
    return Calibration(temperature, *(np.mean(each, 0).tolist() for each in zip(*(f[1:] for f in found), strict=True)))


def since(start: float) -> float:
    return round((time.monotonic() - start) / 60, 1)


class Standardised(nn.Module):
    """Columns at a standard deviation of 1 each, as logistic regression is used to."""

    out_features = 1

    def forward(self, x: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        return x * x.shape[-1] ** 0.5


class AsTheyAre(nn.Flatten):
    """Embeddings, or the pixels of drawings."""

    out_features = 1


def contestants(name: str, ready: qs.MetaLearner) -> dict[str, qs.MetaLearner]:
    """The shipped learner and the simple ones, on the same features."""
    features = Standardised if name == "table" else AsTheyAre
    return {
        "shipped": ready.float(),
        "nearest": qs.PrototypicalNetwork(features()),
        "logistic": qs.LinearProbe(features(), classes=2),
    }


def test_one(name: str, tasks: Tasks, shots: int) -> dict:
    """All on the same draws of support and query examples; of the shipped learner its sets, too."""
    ready, about = qs.load(name), {}
    told = ready.calibration(shots)
    assert told
    for which, one in contestants(name, ready.learner).items():
        temperature = told.temperature if which == "shipped" else 1.0
        found = qs.evaluate(one, tasks, episodes=DRAWS, temperature=temperature)
        assert found.tempered_bins is not None
        about[which] = {
            "scores": found.scores["accuracy"].tolist(), "bins": found.tempered_bins.tolist(),
            "ece": found.tempered_calibration_error,
            "nats": found.scores["tempered_log_likelihood"].mean().item(), "hash": found.episodes_hash,
        }  # fmt: skip
    about["sets"] = sets(ready.learner, told, tasks)
    if isinstance(tasks, qs.FewShot) and len(tasks.data.classes) > tasks.ways[1]:
        about["strangers"] = told_apart(ready.learner, told, tasks)
    return about


@torch.no_grad()
def sets(learner: qs.MetaLearner, told: Calibration, tasks: Tasks) -> dict:
    """How often sets hold the right class, and how large they are, for each draw."""
    covered, sizes = [], []
    for batch in episode_list(tasks, DRAWS):
        for episode in batch:
            p, y, own, _ = answered(learner, episode, told.temperature)
            within = conformal.sets(p, own, told, MISSED)
            covered.append(float(within[np.arange(len(y)), y].mean()))
            sizes.append(float(within.sum(-1).mean()))
    return {"covered": covered, "sizes": sizes}


@torch.no_grad()
def told_apart(learner: qs.MetaLearner, told: Calibration, tasks: qs.FewShot) -> dict:
    """The area under the ROC curve of `none_of_these`, and of one minus the highest probability, for each draw."""
    low, high = tasks.ways
    wider = qs.FewShot(tasks.data, (low + 1, high + 1), tasks.shots, tasks.queries)
    areas: dict[str, list[float]] = {SOFTMAX: [], "none_of_these": []}
    for batch in episode_list(wider, DRAWS):
        for episode in batch:
            support, x, strange = without_last(episode)
            own = of_own(learner, support.x[0], support.y[0], support.ways or 0, told.temperature)
            logits = known(learner.predict(learner.adapt(support), x), support.ways or 0)[0]
            p = (logits.double() / told.temperature).softmax(-1).numpy()
            shares = share_less_unlike(unlike_of(learner, own, x[0], p), own, told)
            for which, score in ((SOFTMAX, 1 - p.max(-1)), ("none_of_these", shares)):
                areas[which].append(area(torch.from_numpy(score)[None].float(), strange).item())
    return areas


def tests_of(name: str, shots: int, data_dir: Path | None, kept: Path) -> Iterator[tuple[str, Tasks]]:
    """Test tasks by name; of tables, those where two classes have rows enough."""
    if name != "table":
        yield from ((title, tasks(shots)) for title, tasks in distribution(name, data_dir, kept).tests.items())
        return
    for table in tables(data_dir)[1]:
        if sum(count >= shots + 5 for count in np.bincount(table.y)) >= 2:
            yield table.name, qs.TableRows([table], shots=shots, queries=5)


def test(name: str, data_dir: Path | None, kept: Path) -> None:
    start = time.monotonic()
    found = {shots: {title: test_one(name, tasks, shots) for title, tasks in tests_of(name, shots, data_dir, kept)}
             for shots in SHOTS}  # fmt: skip
    about = {"machine": processor(), "minutes": since(start), "draws": DRAWS, "seed": 0, "tests": found}
    (RESULTS / f"ready-{name}.json").write_text(json.dumps(about) + "\n")
    print(written(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "test", "table"])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data-dir", type=Path, help="folder of the data; else QUICKSTUDY_DATA")
    parser.add_argument("--kept", type=Path, default=Path("embeddings"), help="folder of embeddings, computed once")
    parser.add_argument("--run", type=Path, help="of handwriting: the folder that race.py wrote")
    asked = parser.parse_args()
    if asked.command == "train":
        train(asked.name, asked.data_dir, asked.kept, asked.run)
    elif asked.command == "test":
        test(asked.name, asked.data_dir, asked.kept)
    else:
        print(written(asked.name))


if __name__ == "__main__":
    sys.exit(main())
