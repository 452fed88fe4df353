"""The policies of benchmarks/robots_imitation.py: learners of many goals, and what does without other goals."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from robots_imitation_rollouts import Act, pairs
from torch import Tensor, nn

import quickstudy as qs

INPUTS, TOLD, ACTIONS, HIDDEN, FEATURES = 10, 13, 4, 128, 32


class Setup(NamedTuple):
    """A policy's row; what is set here was chosen on validation goals.

    Args:
        family: Where the catalogue has it.
        title: In tables.
        build: The learner.
        lr: The first step size of Adam, which falls to zero along a cosine.
        share: Of the training steps that others take.
        told: Whether the goal is among its inputs.
        spread: Whether its predictions have standard deviations of their own.
    """

    family: str
    title: str
    build: Callable[[], qs.MetaLearner]
    lr: float = 1e-3
    share: float = 1.0
    told: bool = False
    spread: bool = False


def network(inputs: int = INPUTS) -> nn.Module:
    """From what is seen to the action."""
    return qs.MLP(inputs, HIDDEN, HIDDEN, ACTIONS)


def features(size: int) -> nn.Module:
    return qs.MLP(INPUTS, HIDDEN, HIDDEN, size)


def cloned(inputs: int = INPUTS, *, steps: int = 0, lr: float = 0.02) -> qs.MAML:
    """Behaviour cloning of all goals together, and that many gradient steps on the demonstration."""
    return qs.MAML(
        network(inputs),
        inner_steps=0,
        test_inner_steps=steps,
        test_inner_lr=lr,
        likelihood=qs.gaussian,
    )


LEARNERS: dict[str, Setup] = {
    "ignores": Setup("transfer", "Ignores the demonstration", cloned),
    "fine-tune": Setup("transfer", "The same, fine-tuned on it", lambda: cloned(steps=100)),
    "scratch": Setup(
        "transfer", "From scratch", lambda: qs.FromScratch(network(), steps=200, lr=0.05, likelihood=qs.gaussian)
    ),
    "r2d2": Setup("metric", "R2-D2", lambda: qs.R2D2(features(FEATURES), likelihood=qs.gaussian)),
    "maml": Setup(
        "optimization",
        "MAML",
        lambda: qs.MAML(network(), inner_lr=0.05, inner_steps=3, likelihood=qs.gaussian),
        share=0.5,
    ),
    "cnp": Setup(
        "model-based",
        "Conditional neural process",
        lambda: qs.NeuralProcess(qs.MLP(INPUTS, 64), targets=ACTIONS, hidden=HIDDEN, least_std=0.02),
        spread=True,
    ),
    "anp": Setup(
        "model-based",
        "Attentive neural process",
        lambda: qs.AttentiveNeuralProcess(qs.MLP(INPUTS, 64), targets=ACTIONS, hidden=HIDDEN, least_std=0.02),
        spread=True,
    ),
    "alpaca": Setup("bayesian", "ALPaCA", lambda: qs.ALPaCA(features(FEATURES), targets=ACTIONS), spread=True),
    "tnp": Setup(
        "in-context",
        "Transformer neural process",
        lambda: qs.TransformerNeuralProcess(qs.MLP(INPUTS, 64), targets=ACTIONS, layers=2, least_std=0.02),
        share=0.5,
        spread=True,
    ),
    "told": Setup("upper bound", "Told the goal", lambda: cloned(TOLD), told=True),
}


class Baseline(NamedTuple):
    """A policy that learns nothing from other goals."""

    title: str
    act: Callable[[qs.Demonstrations], Act]


def replay(demonstrations: qs.Demonstrations) -> Act:
    """What was done in the demonstration at the same step, whatever is seen."""
    goal, shown, _ = pairs(demonstrations)
    actions = demonstrations.actions[goal, shown]
    return lambda seen, step: (actions[:, step], torch.zeros_like(actions[:, step]))


def nearest(demonstrations: qs.Demonstrations) -> Act:
    """What was done at the moment of the demonstration that is most like what is seen."""
    tasks, (goal, shown, _) = qs.OneShotImitation(demonstrations), pairs(demonstrations)
    goals, actions = demonstrations.goals[goal], demonstrations.actions[goal, shown]
    moments = tasks.inputs(demonstrations.states[goal, shown], goals)

    def act(seen: Tensor, step: int) -> tuple[Tensor, Tensor]:
        like = (moments - tasks.inputs(seen[:, None], goals)).square().sum(-1).argmin(1)
        done = actions[torch.arange(len(actions)), like]
        return done, torch.zeros_like(done)

    return act


BASELINES = {
    "replay": Baseline("Replays the demonstration's actions", replay),
    "nearest": Baseline("Nearest moment of the demonstration", nearest),
}
