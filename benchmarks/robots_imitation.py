"""One-shot imitation on Meta-World: one demonstration of a hidden goal, then the policy is let loose.

    python benchmarks/robots.py run imitation [METHOD...]            trains, rolls out; what has a result is passed over
    python benchmarks/robots.py run imitation [METHOD...] --choose   on validation goals; prints and keeps no result
    python benchmarks/robots.py page

Demonstrations are recorded once (about five minutes) and kept in the folder --kept.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from machine import processor
from robots_imitation_data import Part, Sizes, recorded
from robots_imitation_methods import BASELINES, LEARNERS, Setup
from robots_imitation_rollouts import Act, pairs, roll_out, told

import quickstudy as qs
from quickstudy.training import adam

RESULTS = Path(__file__).parent / "results"
ENVIRONMENTS = ("reach-v3", "push-v3")
STEPS, BATCH, SEED = 1500, 16, 0
ENGINE = qs.Engine("stacked", chunk=None)


def trained(setup: Setup, data: dict[str, qs.Demonstrations], steps: int, episodes: int) -> tuple[qs.MetaLearner, dict]:
    """The learner with the weights that were best for validation goals, and what its training was."""
    torch.manual_seed(SEED)
    learner, steps = setup.build(), max(2, int(steps * setup.share))
    optimizer, scheduler = adam(learner, setup.lr, steps)
    if optimizer is None:
        return learner, {"steps": 0}
    tasks, judge = (qs.OneShotImitation(data[part], told=setup.told) for part in ("train", "validation"))
    best = None
    for progress in qs.train(
        learner,
        tasks,
        steps=steps,
        batch=BATCH,
        optimizer=optimizer,
        scheduler=scheduler,
        validate=qs.Validation(judge, every=max(1, steps // 5), episodes=episodes),
        seed=SEED,
        engine=ENGINE,
    ):
        best = progress.best
    return learner, {"steps": steps, "batch": BATCH, "validation": best}


def by_learner(learner: qs.MetaLearner, demonstrations: qs.Demonstrations, setup: Setup) -> Act:
    """The learner's policies, each adapted to the one demonstration that it sees."""
    tasks, (goal, shown, _) = qs.OneShotImitation(demonstrations, told=setup.told), pairs(demonstrations)
    with torch.no_grad():
        memory = learner.eval().adapt(tasks.support(goal, shown))

    @torch.no_grad()
    def act(seen: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        predicted = learner.predict(memory, tasks.inputs(seen[:, None], demonstrations.goals[goal]))
        return predicted.mean[:, 0], predicted.stddev[:, 0]

    return act


def run(name: str, data: dict[str, qs.Demonstrations], part: str, steps: int, episodes: int) -> dict:
    """One policy: trained, and rolled out on the goals of a part."""
    start, demonstrations, about = time.process_time(), data[part], {}
    if name in BASELINES:
        act = BASELINES[name].act(demonstrations)
    else:
        setup = LEARNERS[name]
        learner, about = trained(setup, data, steps, episodes)
        about["parameters"] = sum(p.numel() for p in learner.parameters() if p.requires_grad)
        act = by_learner(learner, demonstrations, setup)
    about["training_seconds"] = round(time.process_time() - start, 1)
    about |= told(roll_out(act, demonstrations), demonstrations)
    return about | {"cpu_seconds": round(time.process_time() - start, 1)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "robots.py run imitation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*BASELINES, *LEARNERS]
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(names)}; or all")
    parser.add_argument("--environment", nargs="+", default=ENVIRONMENTS)
    parser.add_argument("--kept", type=Path, default=Path("runs/imitation"), help="folder of demonstrations")
    parser.add_argument("--goals", type=int, nargs=3, default=[150, 20, 40], help="to train, to choose and to test on")
    parser.add_argument("--draws", type=int, default=10, help="demonstrations of each test goal")
    parser.add_argument("--length", type=int, default=100, help="steps of a demonstration and of a rollout")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--episodes", type=int, default=100, help="validation tasks by which weights are kept")
    parser.add_argument("--choose", action="store_true", help="roll out on validation goals, and keep no result")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    unknown = [name for name in asked.methods if name not in names]
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join(names)}")
    torch.set_num_threads(1)  # networks this small gain nothing from a second thread
    train, validation, test = asked.goals
    sizes = Sizes(Part(train, 1, 2, 0), Part(validation, 4, 0, 1), Part(test, asked.draws, 0, 2), asked.length)
    for environment in asked.environment:
        parts = ("train", "validation") if asked.choose else ("train", "validation", "test")
        data = {part: recorded(environment, part, asked.kept, sizes) for part in parts}
        for name in asked.methods or names:
            path = asked.out / f"robots-imitation-{environment}-{name}.json"
            if path.exists() and not asked.choose:
                continue
            found = run(name, data, parts[-1], asked.steps, asked.episodes)
            found |= {"method": name, "environment": environment, "seed": SEED}
            found |= {"machine": processor(), "torch": torch.__version__}
            mean = {score: sum(found[score]) / len(found[score]) for score in ("success", "last", "distance")}
            print(
                environment,
                name,
                *(f"{score} {value:.3f}" for score, value in mean.items()),
                found["cpu_seconds"],
                found.get("validation"),
                flush=True,
            )
            if not asked.choose:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
