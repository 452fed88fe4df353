"""The tables of docs/learners.md, from what `ready.py test` wrote."""

import json
from pathlib import Path
from statistics import fmean

import torch

import quickstudy as qs
from quickstudy.scores import calibration_error

RESULTS = Path(__file__).parent / "results"
FEW = 4
"""Tests that have a row of their own, before their mean; of more there is the mean only."""
COLUMNS = (
    "examples of a class", "test", "shipped learner", "minus nearest centroid, points", "minus logistic regression",
    "nats per query", "ECE", "nearest's", "logistic's", "90% sets hold the right class", "classes in a set",
    "strangers told", "by softmax",
)  # fmt: skip


def written(name: str) -> str:
    """A row for each number of examples and test, and one for all tests; intervals over draws, or many tests."""
    about = json.loads((RESULTS / f"ready-{name}.json").read_text())
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for shots, tests in about["tests"].items():
        rows = [(title, [found]) for title, found in tests.items()] if len(tests) <= FEW else []
        rows.append((f"mean of {len(tests)}", list(tests.values())))
        lines += ["| " + " | ".join([shots, title, *cells(found)]) + " |" for title, found in rows]
    lines += ["", f"{about['draws']} draws of each test (seed 0), {about['machine']}, {about['minutes']} minutes."]
    return "\n".join(lines)


def cells(found: list[dict]) -> list[str]:
    """Of one test the means over its draws, or of several the means over them; intervals over tests if many."""

    def scores(which: str) -> torch.Tensor:
        each = torch.tensor([one[which]["scores"] for one in found])
        return each.mean(1 if len(found) > FEW else 0)

    def gap(other: str) -> str:
        difference = qs.interval(scores("shipped") - scores(other))
        return f"{100 * difference.mean:+.1f} ± {100 * difference.half_width:.1f}{verdicts(found, other)}"

    def average(*keys: str) -> float:
        return fmean(fmean(v) if isinstance(v := one[keys[0]][keys[1]], list) else v for one in found)

    def error(which: str) -> str:
        """Over all queries; of several tests beside the mean of their own."""
        pooled = f"{calibration_error(torch.tensor([one[which]['bins'] for one in found]).sum(0)):.3f}"
        return pooled if len(found) == 1 else f"{pooled} (mean {average(which, 'ece'):.3f})"

    told = [one for one in found if "strangers" in one]
    strangers = (
        []
        if not told
        else [f"{fmean(fmean(one['strangers'][k]) for one in told):.3f}" for k in ("none_of_these", "softmax")]
    )
    return [
        str(qs.interval(scores("shipped"))), gap("nearest"), gap("logistic"), f"{average('shipped', 'nats'):.3f}",
        *(error(which) for which in ("shipped", "nearest", "logistic")),
        f"{average('sets', 'covered'):.1%}", f"{average('sets', 'sizes'):.2f}", *(strangers or ["-", "-"]),
    ]  # fmt: skip


def verdicts(found: list[dict], other: str) -> str:
    """Of many tests, on how many the shipped learner is ahead beyond the interval of the draws, and behind."""
    if len(found) <= FEW:
        return ""
    gaps = [qs.interval(torch.tensor(f["shipped"]["scores"]) - torch.tensor(f[other]["scores"])) for f in found]
    ahead, behind = (sum(sign * gap.mean > gap.half_width for gap in gaps) for sign in (1, -1))
    return f" (ahead on {ahead}, behind on {behind})"
