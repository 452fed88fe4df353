"""What benchmarks/language.py finds of a method: scores of tasks, how strangers are told, and an example."""

from typing import NamedTuple

import torch
from language_data import QUERIES, SHOTS, WAYS, Part, Split
from torch import Tensor

import quickstudy as qs
from quickstudy.data.files import digest
from quickstudy.evaluation import episode_list
from quickstudy.none_of_these import SOFTMAX, UNLIKE, area, has_strangers, strangers, unfamiliarity
from quickstudy.scores import tempered
from quickstudy.seeds import seeded

SHOWN_OUTSIDE = 3


class Asked(NamedTuple):
    """How many tasks of each split are drawn.

    Args:
        episodes: To test on.
        strange: For strangers; perhaps none.
        calibrating: Of validation classes, for a temperature.
        validating: Of validation classes, to choose weights by.
    """

    episodes: int = 120
    strange: int = 40
    calibrating: int = 40
    validating: int = 60


def tasks_of(data: qs.LabelledData, shots: int, queries: int = QUERIES) -> qs.FewShot:
    return qs.FewShot(data, WAYS, shots, queries)


def drawn(part: Part, shots: int, episodes: int, seed: int) -> str:
    """A fingerprint of the texts of these tasks, whatever stands for them."""
    batches = episode_list(tasks_of(part.rows, shots), episodes, seed)
    return digest(f"{batch.support.x.tolist()} {batch.query.x.tolist()}" for batch in batches)


def tested(learner: qs.MetaLearner, split: Split, words: bool, asked: Asked, seed: int, engine: qs.Engine) -> dict:
    """Of every test and number of shots: scores per task and bins of confidences."""
    learner.eval()
    found = {}
    for shots in SHOTS:
        calibrating = tasks_of(split.validation.seen(words), shots)
        temperature = qs.fit_temperature(learner, calibrating, episodes=asked.calibrating, seed=seed, engine=engine)
        for name, part in split.tests.items():
            tasks = tasks_of(part.seen(words), shots)
            one = qs.evaluate(
                learner, tasks, episodes=asked.episodes, seed=seed, temperature=temperature, engine=engine
            )
            assert one.bins is not None
            assert one.tempered_bins is not None
            found[f"{name}, {shots}-shot"] = {
                "hash": drawn(part, shots, asked.episodes, seed),
                "temperature": round(temperature, 4),
                "accuracy": rounded(one.scores["accuracy"]),
                "nats": rounded(one.scores["tempered_log_likelihood"]),
                "bins": [[round(value, 2) for value in row] for row in one.bins.tolist()],
                "tempered_bins": [[round(value, 2) for value in row] for row in one.tempered_bins.tolist()],
                "adapt_ms": round(one.adapt_seconds * 1000, 2),
                "strangers": told_apart(learner, tasks, asked.strange, seed, engine)
                if asked.strange and has_strangers(tasks)
                else {},
                "outside": out_of_scope(learner, tasks, split, asked.strange, seed)
                if split.outside is not None
                else {},
            }
    return found


def rounded(scores: Tensor) -> list[float]:
    return [round(value, 3) for value in scores.tolist()]


def told_apart(
    learner: qs.MetaLearner, tasks: qs.FewShot, episodes: int, seed: int, engine: qs.Engine
) -> dict[str, list[float]]:
    """Areas under the ROC curve for queries of a class more, of which no example is shown."""
    found = strangers(learner, tasks, episodes=episodes, seed=seed, engine=engine)
    return {name: rounded(areas) for name, areas in found.items()}


@torch.no_grad()
def out_of_scope(
    learner: qs.MetaLearner, tasks: qs.FewShot, split: Split, episodes: int, seed: int
) -> dict[str, list[float]]:
    """Areas under the ROC curve for as many texts of no class beside the queries."""
    assert split.outside is not None
    found: dict[str, list[float]] = {}
    for chunk, batch in enumerate(episode_list(tasks, episodes, seed)):
        shape = batch.query.x.shape[:2]
        which = torch.randint(len(split.outside), shape, generator=seeded(seed, "outside", chunk))
        others = split.outside[which] if batch.query.x.ndim > 2 else which - len(split.outside)  # of texts, the last
        strange = torch.arange(2 * shape[1]).expand(len(batch), -1) >= shape[1]
        for name, scores in unfamiliarity(learner, batch.support, torch.cat([batch.query.x, others], 1)).items():
            found.setdefault(name, []).extend(rounded(area(scores, strange)))
    return found


@torch.no_grad()
def example(learner: qs.MetaLearner, split: Split, seed: int, engine: qs.Engine, episodes: int, shots: int = 1) -> dict:
    """One task: its examples, a query of each class, and texts of no class, with probabilities.

    With each query, how many of the validation classes' own queries look less like none of the classes than it does.
    """
    learner.eval()
    part = next(iter(split.tests.values()))
    tasks = tasks_of(split.validation.embedded, shots)
    temperature = qs.fit_temperature(learner, tasks, episodes=episodes, seed=seed, engine=engine)
    (batch,) = episode_list(tasks_of(part.embedded, shots, 1), 1, seed)
    (rows,) = episode_list(tasks_of(part.rows, shots, 1), 1, seed)
    x, texts = batch.query.x, [split.texts[row] for row in rows.query.x[0].tolist()]
    if split.outside is not None:
        chosen = torch.randperm(len(split.outside), generator=seeded(seed, "shown"))[:SHOWN_OUTSIDE]
        x = torch.cat([x, split.outside[chosen][None]], 1)
        texts += [split.texts[row - len(split.outside)] for row in chosen.tolist()]
    probabilities = tempered(learner.predict(learner.adapt(batch.support), x), temperature).probs[0]  # pyright: ignore
    scores = unfamiliarity(learner, batch.support, x)
    by = UNLIKE if UNLIKE in scores else SOFTMAX
    usual = torch.cat(
        [
            unfamiliarity(learner, some.support, some.query.x)[by].flatten()
            for some in episode_list(tasks, episodes, seed)
        ]
    )
    assert rows.support.classes is not None
    classes = [part.rows.classes[c] for c in rows.support.classes[0].tolist()]
    true = [*(classes[y * shots] for y in rows.query.y[0].tolist()), *[None] * SHOWN_OUTSIDE]
    return {
        "support": [[c, split.texts[row]] for c, row in zip(classes, rows.support.x[0].tolist(), strict=True)],
        "queries": [
            [text, right, [round(p, 3) for p in p_of.tolist()], round((usual < score).float().mean().item(), 3)]
            for text, right, p_of, score in zip(texts, true, probabilities, scores[by][0], strict=False)
        ],
    }
