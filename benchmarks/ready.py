"""The learners that ship with quickstudy: trains them, and tests them beside simple classifiers on the same features.

    python benchmarks/ready.py train NAME --data-dir DIR     writes src/quickstudy/learners/NAME.safetensors
    python benchmarks/ready.py calibrate NAME --data-dir DIR     writes into it what its answers are worth
    python benchmarks/ready.py test NAME --data-dir DIR      writes benchmarks/results/ready-NAME.json
    python benchmarks/ready.py table NAME                    prints the tables of docs/learners.md

Names are table, images, text, molecules and handwriting. The last is trained by `race.py run omniglot protonet`, whose
folder is named by --run. Embeddings are kept in the folder --kept. Nothing was trained, chosen or calibrated on what is
tested on.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from machine import processor
from ready_data import Distribution, distribution, folds
from ready_tables import RESULTS, written
from torch import Tensor, nn
from torch.distributions import Categorical

import quickstudy as qs
from quickstudy import conformal
from quickstudy.calibration import Calibration
from quickstudy.checkpoint import load_learner, save_learner
from quickstudy.conformal import asked, of_own, share_less_unlike, tempered_by, unlike_of
from quickstudy.data.tables import Table, tables
from quickstudy.encoders.background import Background, MoleculeFeatures
from quickstudy.evaluation import episode_list
from quickstudy.none_of_these import SOFTMAX, area, without_last
from quickstudy.ready import Ready
from quickstudy.shipped import SHIPPED
from quickstudy.tasks import Tasks
from quickstudy.tasks.table_rows import encoded
from quickstudy.tensors import known
from quickstudy.training import adam

LEARNERS = Path(qs.__file__).parent / "learners"
NAMES = ("table", "images", "text", "molecules", "handwriting")
STEPS = {"table": 3000, "images": 600, "text": 600, "molecules": 600}
RATES = {"table": 0.02, "images": 0.01, "text": 0.01, "molecules": 0.01}
OWN: dict[bytes, conformal.Own] = {}
"""Of the shipped learner's tasks: the same are asked for answers and for sets."""
BATCH, MEASURED, DRAWS, SHOTS, MISSED = 8, (1, 2, 3, 5, 10), 200, (1, 5, 10), 0.1


def train(name: str, data_dir: Path | None, kept: Path, run: Path | None) -> None:
    """On training tasks."""
    start = time.monotonic()
    if name == "table":
        learner = trained(name, rows(tables(data_dir)[0]), STEPS[name])
    elif name in STEPS:
        tasks = distribution(name, data_dir, kept)
        learner = trained(name, tasks.training, STEPS[name], tasks)
    else:
        learner = raced(run)
    save(name, learner, {})
    print(since(start), "minutes")


def calibrate(name: str, data_dir: Path | None, kept: Path) -> None:
    """On tasks that are neither trained nor tested on; of tables, in folds by learners that have not seen them."""
    start = time.monotonic()
    if name == "table":
        parts = [(trained(name, rows(most), STEPS[name] // 3), some) for most, some in folds(data_dir)]
        found = {ways: {shots: conformal.calibrate(*((one, some_rows(some, ways, shots)) for one, some in parts))
                        for shots in MEASURED} for ways in (2, 3, 5)}  # fmt: skip
    else:
        tasks, learner = distribution(name, data_dir, kept), qs.load(name).learner.float()
        found = {ways: {shots: told(learner, tasks.calibrating(ways, shots), ways) for shots in MEASURED}
                 for ways in tasks.ways}  # fmt: skip
    save(name, qs.load(name).learner, found)
    for ways, some in found.items():
        print(f"{ways}-way", {shots: round(one.temperature, 3) for shots, one in some.items()})
    print(since(start), "minutes")


def told(learner: qs.MetaLearner, tasks: Tasks, ways: int) -> Calibration:
    """Of fewer tasks where these are large."""
    return conformal.calibrate((learner, tasks), episodes=min(200, 1000 // ways))


def save(name: str, learner: qs.MetaLearner, found: dict[int, dict[int, Calibration]]) -> None:
    about = {ways: {shots: rounded(one) for shots, one in some.items()} for ways, some in found.items()}
    dtype = torch.float64 if name == "table" else torch.float32
    save_learner(learner.to(dtype), LEARNERS / f"{name}.safetensors", {"calibrations": about, "seed": 0})


def rows(some: list[Table], ways: int = 5, shots: tuple[int, int] | int = (1, 10)) -> qs.TableRows:
    return qs.TableRows(some, ways, shots, queries=5)


def some_rows(some: list[Table], ways: int, shots: int) -> qs.TableRows:
    """Of the tables that have so many classes with rows enough."""
    return rows([table for table in some if enough(table, shots) >= ways], ways, shots)


def enough(table: Table, shots: int) -> int:
    """How many classes of a table have rows for so many examples and 5 queries."""
    return int((np.bincount(table.y) >= shots + 5).sum())


def rounded(found: Calibration) -> dict:
    """Its numbers to five digits, which is more than they are worth."""
    return json.loads(json.dumps(found._asdict()), parse_float=lambda digits: float(f"{float(digits):.5g}"))


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


def contestants(name: str, ready: Ready) -> dict[str, qs.MetaLearner]:
    """The shipped learner and the simple ones, on the same features."""
    features = Standardised if name == "table" else AsTheyAre
    return {
        "shipped": AsFitted(ready),
        "nearest": qs.PrototypicalNetwork(features()),
        "logistic": qs.LinearProbe(features(), classes=2),
    }


class AsFitted(qs.MetaLearner):
    """A learner as `FewShotClassifier` asks it: logits are divided by each task's own temperature."""

    def __init__(self, ready: Ready):
        super().__init__()
        self.learner, self.ready = ready.learner.float(), ready

    def adapt(self, support: qs.Examples) -> tuple[qs.Memory, Tensor, Tensor]:
        each = [qs.Examples(x[None], y[None], support.ways) for x, y in zip(support.x, support.y, strict=True)]
        temperatures = torch.tensor([own_of(self.ready, one).temperature for one in each], dtype=torch.float64)
        return self.learner.adapt(support), temperatures, torch.full((len(support),), support.ways or 0)

    def predict(self, memory: tuple[qs.Memory, Tensor, Tensor], x: Tensor) -> Categorical:
        remembered, temperatures, ways = memory
        log = known(self.learner.predict(remembered, x), int(ways[0]))
        return qs.categorical(log.double() / temperatures[:, None, None])


def told_of(ready: Ready, support: qs.Examples) -> Calibration:
    ways = support.ways or 0
    told = ready.calibration(ways, support.x.shape[1] / ways)
    assert told
    return told


def own_of(ready: Ready, support: qs.Examples) -> conformal.Own:
    """What one task's examples tell, found once."""
    x, y, ways = support.x[0], support.y[0], support.ways or 0
    key = hashlib.sha256(x.contiguous().numpy().tobytes() + y.contiguous().numpy().tobytes()).digest()
    if key not in OWN:
        OWN[key] = of_own(ready.learner, x, y, ways, told_of(ready, support))
    return OWN[key]


def test_one(name: str, tasks: Tasks) -> dict:
    """All on the same draws of support and query examples; of the shipped learner its sets, too."""
    ready, about = qs.load(name), {}
    for which, one in contestants(name, ready).items():
        found = qs.evaluate(one, tasks, episodes=DRAWS)
        assert found.bins is not None
        about[which] = {
            "scores": found.scores["accuracy"].tolist(), "bins": found.bins.tolist(), "ece": found.calibration_error,
            "nats": found.scores["log_likelihood"].mean().item(), "hash": found.episodes_hash,
        }  # fmt: skip
    about["sets"] = sets(ready, tasks)
    few = tasks.tasks[0] if isinstance(tasks, qs.TableRows) else tasks
    if isinstance(few, qs.FewShot) and len(few.data.classes) > 2:
        about["strangers"] = told_apart(ready, few, isinstance(tasks, qs.TableRows))
    return about


@torch.no_grad()
def sets(ready: Ready, tasks: Tasks) -> dict:
    """How often sets hold the right class, and how large they are, for each draw."""
    covered, sizes = [], []
    for batch in episode_list(tasks, DRAWS):
        for episode in batch:
            own, y = own_of(ready, episode.support), episode.query.y[0].numpy()
            p = tempered_by(own, asked(ready.learner, episode))
            within = conformal.sets(p, own, told_of(ready, episode.support), MISSED)
            covered.append(float(within[np.arange(len(y)), y].mean()))
            sizes.append(float(within.sum(-1).mean()))
    return {"covered": covered, "sizes": sizes}


@torch.no_grad()
def told_apart(ready: Ready, tasks: qs.FewShot, of_rows: bool) -> dict:
    """The area under the ROC curve of `none_of_these`, and of one minus the highest probability, for each draw.

    Tasks have one class more, or all of a table that has no more, of which one is not shown.
    """
    ways = min(tasks.ways[1] + 1, len(tasks.data.classes))
    wider = qs.FewShot(tasks.data, ways, tasks.shots, tasks.queries, apart=tasks.apart)
    areas: dict[str, list[float]] = {SOFTMAX: [], "none_of_these": []}
    for batch in episode_list(wider, DRAWS):
        for episode in batch:
            support, x, strange = without_last(episode)
            if of_rows:
                rows, x = encoded(support.x, x)
                support = replace(support, x=rows)
            own, told = own_of(ready, support), told_of(ready, support)
            p = tempered_by(own, known(ready.learner.predict(ready.learner.adapt(support), x), support.ways or 0)[0])
            shares = share_less_unlike(unlike_of(ready.learner, own, x[0], p), own, told)
            for which, score in ((SOFTMAX, 1 - p.max(-1)), ("none_of_these", shares)):
                areas[which].append(area(torch.from_numpy(score)[None].float(), strange).item())
    return areas


def tests_of(name: str, shots: int, data_dir: Path | None, kept: Path) -> Iterator[tuple[str, Tasks]]:
    """Test tasks by name; of tables, those where two classes have rows enough."""
    if name != "table":
        yield from ((title, tasks(shots)) for title, tasks in distribution(name, data_dir, kept).tests.items())
        return
    for table in tables(data_dir)[1]:
        if enough(table, shots) >= 2:
            yield table.name, rows([table], shots=shots)


def test(name: str, data_dir: Path | None, kept: Path) -> None:
    start = time.monotonic()
    found = {shots: {title: test_one(name, tasks) for title, tasks in tests_of(name, shots, data_dir, kept)}
             for shots in SHOTS}  # fmt: skip
    about = {"machine": processor(), "minutes": since(start), "draws": DRAWS, "seed": 0, "tests": found}
    (RESULTS / f"ready-{name}.json").write_text(json.dumps(about) + "\n")
    print(written(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "calibrate", "test", "table"])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data-dir", type=Path, help="folder of the data; else QUICKSTUDY_DATA")
    parser.add_argument("--kept", type=Path, default=Path("embeddings"), help="folder of embeddings, computed once")
    parser.add_argument("--run", type=Path, help="of handwriting: the folder that race.py wrote")
    asked = parser.parse_args()
    if asked.command == "train":
        train(asked.name, asked.data_dir, asked.kept, asked.run)
    elif asked.command == "calibrate":
        calibrate(asked.name, asked.data_dir, asked.kept)
    elif asked.command == "test":
        test(asked.name, asked.data_dir, asked.kept)
    else:
        print(written(asked.name))


if __name__ == "__main__":
    sys.exit(main())
