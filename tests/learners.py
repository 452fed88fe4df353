"""Every learner, small, with tasks that suit it: the table through which all of them run the same tests."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

import quickstudy as qs
from quickstudy.seeds import seeded
from quickstudy.stacked import Unsuited

WAYS = 3


@dataclass(frozen=True)
class Row:
    build: Callable[[], qs.MetaLearner]
    regression: bool = False
    ordered: bool = False
    """A sequence model: the order in which it reads the support set matters."""
    frozen: bool = False
    """Nothing to train."""
    steps: int = 60
    """Within which meta-training shows."""
    random: bool = False
    """The loss draws random numbers, so a part of a batch has not the loss that it has in the whole."""
    surrogate: bool = False
    """The loss is made for its gradient: what must fall is the queries' nats after adapting."""


def mlp(*sizes: int) -> qs.MLP:
    return qs.MLP(*sizes)


def gaussian_maml() -> qs.MAML:
    return qs.MAML(mlp(1, 16, 1), inner_lr=0.01, inner_steps=2, likelihood=qs.gaussian)


def reptile() -> qs.Reptile:
    return qs.Reptile(mlp(256, 16, WAYS), inner_lr=0.01, test_inner_steps=10)


ROWS = {
    "protonet": Row(lambda: qs.PrototypicalNetwork(qs.Conv4(width=8, image_size=16))),
    "protonet-batch": Row(lambda: qs.PrototypicalNetwork(qs.Conv4(width=8, image_size=16, norm="batch")), steps=30),
    "protonet-task": Row(
        lambda: qs.TaskNormalized(qs.PrototypicalNetwork(qs.Conv4(width=8, image_size=16, norm="task"))),
        steps=30,
    ),
    "protonet-resnet12": Row(lambda: qs.PrototypicalNetwork(qs.ResNet12(1, (4, 4, 8, 8))), steps=30),
    "matching": Row(lambda: qs.MatchingNetwork(mlp(256, 16))),
    "matching-full-context": Row(
        lambda: qs.MatchingNetwork(mlp(256, 16), full_context=True, steps=2), ordered=True, steps=40
    ),
    "relation": Row(lambda: qs.RelationNetwork(mlp(256, 32), hidden=64), steps=80),
    "mahalanobis": Row(lambda: qs.Mahalanobis(mlp(256, 16))),
    "feat": Row(lambda: qs.FEAT(mlp(256, 16), temperature=4.0)),
    "r2d2": Row(lambda: qs.R2D2(mlp(256, 16))),
    "r2d2-regression": Row(lambda: qs.R2D2(mlp(1, 16, 16), likelihood=qs.gaussian), regression=True),
    "metaoptnet": Row(lambda: qs.MetaOptNet(mlp(256, 16))),
    "maml": Row(lambda: qs.MAML(mlp(256, 16, WAYS), inner_lr=0.1, inner_steps=2)),
    "fo-maml": Row(lambda: qs.MAML(mlp(256, 16, WAYS), inner_lr=0.1, inner_steps=2, first_order=True)),
    "maml-conv4": Row(lambda: qs.MAML(conv_net("group"), inner_lr=0.1)),
    "maml-conv4-batch": Row(lambda: qs.MAML(conv_net("batch"), inner_lr=0.1), steps=30),
    "maml-conv4-task": Row(lambda: qs.TaskNormalized(qs.MAML(conv_net("task"), inner_lr=0.1)), steps=30),
    "maml-adjoint": Row(lambda: qs.MAML(mlp(256, 16, WAYS), inner_lr=0.1, inner_steps=2, adjoint=True)),
    "anil": Row(lambda: qs.ANIL(mlp(256, 16), mlp(16, WAYS))),
    "anil-conv4": Row(lambda: qs.ANIL(qs.Conv4(width=8, image_size=16), mlp(8, WAYS), inner_lr=0.1)),
    "boil": Row(lambda: qs.BOIL(mlp(256, 16), mlp(16, WAYS), inner_lr=0.1, inner_steps=2)),
    "meta-sgd": Row(lambda: qs.MetaSGD(mlp(256, 16, WAYS))),
    "reptile": Row(reptile, surrogate=True, steps=40),
    "proto-maml": Row(lambda: qs.ProtoMAML(mlp(256, 16), inner_lr=0.05, inner_steps=2)),
    "imaml": Row(lambda: qs.IMAML(mlp(256, 16, WAYS), inner_steps=5)),
    "maml++": Row(lambda: qs.MAMLPlusPlus(mlp(256, 16, WAYS), inner_steps=3)),
    "maml++-conv4": Row(lambda: qs.MAMLPlusPlus(conv_net("group"), inner_steps=2)),
    "maml++-conv4-task": Row(lambda: qs.TaskNormalized(qs.MAMLPlusPlus(conv_net("task"), inner_steps=2)), steps=30),
    "meta-lstm": Row(lambda: qs.MetaLSTM(mlp(256, 16, WAYS), inner_lr=0.1, hidden=0)),
    "meta-lstm-two-layers": Row(lambda: qs.MetaLSTM(mlp(256, 16, WAYS), inner_lr=0.1, steps=2, hidden=4)),
    "cnaps": Row(lambda: qs.CNAPs(qs.Conv4(width=8, image_size=16, norm="group"), mlp(256, 16), hidden=16), steps=30),
    "maml-regression": Row(gaussian_maml, regression=True),
    "snail": Row(lambda: qs.SNAIL(mlp(256, 16), ways=WAYS, shots=2, filters=8), ordered=True, steps=150),
    "cnp": Row(lambda: qs.NeuralProcess(mlp(256, 16), hidden=16), steps=150),
    "cnp-regression": Row(lambda: qs.NeuralProcess(mlp(1, 16), targets=1, hidden=16), regression=True),
    "mann": Row(
        lambda: qs.MANN(mlp(256, 16), ways=WAYS, slots=8, width=16, heads=2, hidden=64), ordered=True, steps=800
    ),
    "mann-feed-forward": Row(
        lambda: qs.MANN(mlp(256, 16), ways=WAYS, slots=8, width=16, heads=2, hidden=64, feed_forward=True),
        ordered=True,
        steps=800,
    ),
    "fast-weights": Row(lambda: qs.FastWeights(mlp(256, 16), d=16), ordered=True),
    "anp": Row(lambda: qs.AttentiveNeuralProcess(mlp(256, 16), hidden=16, heads=2), steps=150),
    "anp-regression": Row(
        lambda: qs.AttentiveNeuralProcess(mlp(1, 16), targets=1, hidden=16, heads=2), regression=True
    ),
    "alpaca": Row(lambda: qs.ALPaCA(mlp(256, 16))),
    "alpaca-regression": Row(lambda: qs.ALPaCA(mlp(1, 32, 16), targets=1), regression=True),
    "dkt": Row(lambda: qs.DeepKernelTransfer(mlp(256, 16))),
    "dkt-predictive": Row(lambda: qs.DeepKernelTransfer(mlp(256, 16), kernel="linear", objective="predictive")),
    "dkt-mixture": Row(lambda: qs.DeepKernelMixture(mlp(256, 16), kernels=4, kernel="cosine")),
    "dkt-mixture-regression": Row(
        lambda: qs.DeepKernelMixture(mlp(1, 16), kernels=4, targets=1), regression=True, steps=500
    ),
    "dkt-regression": Row(lambda: qs.DeepKernelTransfer(mlp(1, 16), kernel="rbf", targets=1), regression=True),
    "abml": Row(lambda: qs.ABML(mlp(256, 16, WAYS), inner_steps=2, samples=2), random=True),
    "abml-conv4": Row(
        lambda: qs.ABML(conv_net("group"), inner_steps=1, samples=1, first_order=True), random=True, steps=120
    ),
    "abml-regression": Row(
        lambda: qs.ABML(mlp(1, 16, 1), inner_lr=0.01, inner_steps=2, samples=2, likelihood=qs.gaussian),
        random=True,
        regression=True,
    ),
    "in-context": Row(lambda: qs.InContextTransformer(mlp(256, 32), ways=WAYS + 1, d=32, layers=2, heads=2), steps=80),
    "tnp": Row(lambda: qs.TransformerNeuralProcess(mlp(256, 32), ways=WAYS + 1, d=32, layers=2, heads=2), steps=150),
    "tnp-regression": Row(
        lambda: qs.TransformerNeuralProcess(mlp(1, 16), targets=1, d=32, layers=2, heads=2), regression=True
    ),
    "linear-probe": Row(lambda: qs.LinearProbe(mlp(256, 16), classes=6)),
    "fine-tune": Row(lambda: qs.FineTune(qs.Conv4(width=8, image_size=16), classes=6, steps=3)),
    "scratch": Row(lambda: qs.FromScratch(mlp(256, 16, WAYS), steps=3), frozen=True),
    "scratch-regression": Row(
        lambda: qs.FromScratch(mlp(1, 16, 1), steps=3, lr=0.01, likelihood=qs.gaussian), regression=True, frozen=True
    ),
    "baseline++": Row(lambda: qs.BaselinePlusPlus(mlp(256, 16), classes=6)),
    "simpleshot": Row(lambda: qs.SimpleShot(mlp(256, 16), classes=6)),
    "simpleshot-conv4": Row(lambda: qs.SimpleShot(qs.Conv4(width=8, image_size=16), classes=6)),
    "good-embedding": Row(lambda: qs.LinearProbe(mlp(256, 16), classes=6, normalize=True)),
    "meta-baseline": Row(lambda: qs.MetaBaseline(mlp(256, 16), classes=6)),
    "transductive-fine-tune": Row(
        lambda: qs.TransductiveFineTune(qs.Conv4(width=8, image_size=16), classes=6, steps=3, lr=0.01)
    ),
}


def conv_net(norm) -> torch.nn.Module:
    return torch.nn.Sequential(qs.Conv4(width=8, image_size=16, norm=norm), torch.nn.Linear(8, WAYS))


def learner(name: str) -> qs.MetaLearner:
    torch.manual_seed(0)
    one, episodes = ROWS[name].build(), episodes_for(name)
    if any("running_mean" in key for key in one.state_dict()):  # without statistics, features all but vanish
        with torch.no_grad():
            for _ in range(20):
                one.train().loss(episodes)
    return one


def toy_data(classes: int = 6, examples: int = 12, size: int = 16) -> qs.LabelledData:
    """Classes that can be told apart: a pattern each, and noise."""
    generator = torch.Generator().manual_seed(1)
    patterns = torch.rand(classes, 1, 1, size, size, generator=generator)
    noise = torch.rand(classes, examples, 1, size, size, generator=generator)
    x = (255 * (0.6 * patterns + 0.4 * noise)).byte().flatten(0, 1)
    return qs.LabelledData("toy", x, torch.arange(classes).repeat_interleave(examples), tuple("abcdefghijkl"[:classes]))


def tasks_for(name: str) -> qs.Tasks:
    return qs.Sinusoids(shots=6, queries=4) if ROWS[name].regression else qs.FewShot(toy_data(), WAYS, 2, 4)


def episodes_for(name: str, tasks: int = 4) -> qs.Episodes:
    return tasks_for(name).sample(tasks, seeded(0, "tests"))


def padded(one: qs.Examples, more: int) -> qs.Examples:
    """The same examples, and so many that count for nothing."""
    x, y = (torch.cat([t, torch.ones_like(t[:, :more])], 1) for t in (one.x, one.y))
    exists = torch.arange(y.shape[1]) < one.y.shape[1]
    return qs.Examples(x, y, one.ways, mask=exists.expand(len(y), -1))


def gradients_by_strategy(one: qs.MetaLearner, episodes: qs.Episodes) -> dict[str, torch.Tensor]:
    """The loss's gradient as each strategy computes it that the learner is suited to."""
    found = {}
    for strategy in ("loop", "stacked", "vmap"):
        one.zero_grad()
        try:
            qs.Engine(strategy, 2).gradient(one, episodes)
        except Unsuited:
            continue
        found[strategy] = torch.cat([p.grad.flatten() for p in one.parameters()])
    return found
