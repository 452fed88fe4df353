"""Other meta-learning libraries behind a few common callables, so that a benchmark can time them.

Each library is used as its own documentation and examples advise. None is needed to import this file.
"""

import copy
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, Sampler

Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # of T tasks: support x and y, query x and y
Loss = Callable[[Tensor, Tensor], Tensor]
OuterStep = Callable[[Batch], float]
Evaluation = Callable[[Batch], Tensor]
Task = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # one task of a batch to a scalar


def usual_conv4(
    channels: int, width: int, size: int, ways: int, downsample: Literal["pool", "stride"]
) -> nn.Sequential:
    """The four-block convolutional network as everyone writes it."""
    pool = downsample == "pool"
    layers: list[nn.Module] = []
    for inputs in (channels, width, width, width):
        layers += [
            nn.Conv2d(inputs, width, 3, stride=1 if pool else 2, padding=1),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.ReLU(),
        ]
        if pool:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten()] if pool else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(width * (size // 16) ** 2 if pool else width, ways))


def outer_step(parameters: Iterable[nn.Parameter], query_loss: Task) -> OuterStep:
    """One step of Adam on the mean query loss, with a backward pass per task."""
    optimizer = torch.optim.Adam(parameters, 1e-3)

    def step(batch: Batch) -> float:
        optimizer.zero_grad()
        losses = []
        for task in zip(*batch, strict=True):
            loss = query_loss(*task)
            (loss / len(batch[0])).backward()
            losses.append(loss.detach())
        optimizer.step()
        return torch.stack(losses).mean().item()

    return step


def per_task(query_accuracy: Task) -> Evaluation:
    """The accuracy of each task, one task after the other."""
    return lambda batch: torch.stack([query_accuracy(*task) for task in zip(*batch, strict=True)])


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(-1) == labels).float().mean()


def both(encoder: nn.Module, head: nn.Module) -> list[nn.Parameter]:
    return [*encoder.parameters(), *head.parameters()]


# In the training functions below `head` adapts to the features of `encoder`: ANIL, and MAML with nn.Identity before.


def torchopt_training(
    encoder: nn.Module,
    head: nn.Module,
    inner_lr: float,
    steps: int,
    *,
    loss: Loss = cross_entropy,
    first_order: bool = False,
) -> OuterStep:
    """TorchOpt: MetaSGD, the net's state taken back after each task; its functional SGD where first order."""
    import torchopt  # pyright: ignore[reportMissingImports]

    inner = torchopt.MetaSGD(head, lr=inner_lr)

    def query_loss(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        support, query = encoder(xs), encoder(xq)
        if first_order:  # MetaSGD always keeps the graph
            return loss(functional_call(head, torchopt_adapted(head, inner_lr, steps, support, ys, loss), query), yq)
        net_state = torchopt.extract_state_dict(head, by="reference", detach_buffers=True)
        inner_state = torchopt.extract_state_dict(inner, by="reference")
        for _ in range(steps):
            inner.step(loss(head(support), ys))
        value = loss(head(query), yq)
        torchopt.recover_state_dict(head, net_state)
        torchopt.recover_state_dict(inner, inner_state)
        return value

    return outer_step(both(encoder, head), query_loss)


def torchopt_adapted(net: nn.Module, lr: float, steps: int, x: Tensor, y: Tensor, loss: Loss) -> dict[str, Tensor]:
    """The parameters after inner steps without a graph, by TorchOpt's functional interface."""
    import torchopt  # pyright: ignore[reportMissingImports]

    names, params = zip(*net.named_parameters(), strict=True)
    inner = torchopt.sgd(lr)
    state = inner.init(params)
    for _ in range(steps):
        value = loss(functional_call(net, dict(zip(names, params, strict=True)), x), y)
        updates, state = inner.update(torch.autograd.grad(value, params), state, params=params, inplace=False)
        params = torchopt.apply_updates(params, updates, inplace=False)
    return dict(zip(names, params, strict=True))


def torchopt_evaluation(net: nn.Module, inner_lr: float, steps: int) -> Evaluation:
    """TorchOpt: its functional SGD, because MetaSGD would keep the graph of every step."""

    def query_accuracy(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        params = torchopt_adapted(net, inner_lr, steps, xs, ys, cross_entropy)
        with torch.no_grad():
            return accuracy(functional_call(net, params, xq), yq)

    return per_task(query_accuracy)


def higher_training(
    encoder: nn.Module,
    head: nn.Module,
    inner_lr: float,
    steps: int,
    *,
    loss: Loss = cross_entropy,
    first_order: bool = False,
) -> OuterStep:
    """higher: innerloop_ctx from the net's own weights."""
    import higher  # pyright: ignore[reportMissingImports]

    inner_opt = torch.optim.SGD(head.parameters(), lr=inner_lr)

    def query_loss(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        support, query = encoder(xs), encoder(xq)
        with higher.innerloop_ctx(head, inner_opt, copy_initial_weights=False, track_higher_grads=not first_order) as (
            fnet,
            diffopt,
        ):
            for _ in range(steps):
                diffopt.step(loss(fnet(support), ys))
            if not first_order:
                return loss(fnet(query), yq)
            # Without tracking the fast weights are cut off from the net's: their gradient is handed straight on to it.
            pairs = zip(head.parameters(), fnet.parameters(), strict=True)
            return loss(fnet(query, params=[p + (fast - p).detach() for p, fast in pairs]), yq)

    return outer_step(both(encoder, head), query_loss)


def higher_evaluation(net: nn.Module, inner_lr: float, steps: int) -> Evaluation:
    """higher: innerloop_ctx without higher gradients."""
    import higher  # pyright: ignore[reportMissingImports]

    inner_opt = torch.optim.SGD(net.parameters(), lr=inner_lr)

    def query_accuracy(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        with higher.innerloop_ctx(net, inner_opt, track_higher_grads=False) as (fnet, diffopt):
            for _ in range(steps):
                diffopt.step(cross_entropy(fnet(xs), ys))
            with torch.no_grad():
                return accuracy(fnet(xq), yq)

    return per_task(query_accuracy)


def torch_func_training(
    encoder: nn.Module,
    head: nn.Module,
    inner_lr: float,
    steps: int,
    *,
    loss: Loss = cross_entropy,
    first_order: bool = False,
) -> OuterStep:
    """By hand: functional_call and autograd.grad."""

    def query_loss(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        support, query = encoder(xs), encoder(xq)
        params = torch_func_adapted(head, inner_lr, steps, support, ys, loss, create_graph=not first_order)
        return loss(functional_call(head, params, query), yq)

    return outer_step(both(encoder, head), query_loss)


def torch_func_adapted(
    net: nn.Module, lr: float, steps: int, x: Tensor, y: Tensor, loss: Loss, create_graph: bool
) -> dict[str, Tensor]:
    """The parameters after inner steps."""
    params: dict[str, Tensor] = dict(net.named_parameters())
    for _ in range(steps):
        value = loss(functional_call(net, params, x), y)
        grads = torch.autograd.grad(value, tuple(params.values()), create_graph=create_graph)
        params = {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}
    return params


def torch_func_evaluation(net: nn.Module, inner_lr: float, steps: int) -> Evaluation:
    """By hand, without a graph of the inner steps."""

    def query_accuracy(xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        params = torch_func_adapted(net, inner_lr, steps, xs, ys, cross_entropy, create_graph=False)
        with torch.no_grad():
            return accuracy(functional_call(net, params, xq), yq)

    return per_task(query_accuracy)


def vmap_logits(net: nn.Module, lr: float, steps: int, loss: Loss, first_order: bool) -> Callable[[Batch], Tensor]:
    """The query logits of all tasks at once after inner steps."""

    def support_loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss(functional_call(net, params, x), y)

    def logits(params: dict[str, Tensor], xs: Tensor, ys: Tensor, xq: Tensor) -> Tensor:
        for _ in range(steps):
            point = {name: p.detach() for name, p in params.items()} if first_order else params
            grads = torch.func.grad(support_loss)(point, xs, ys)
            params = {name: p - lr * grads[name] for name, p in params.items()}
        return functional_call(net, params, xq)

    tasks = torch.func.vmap(logits, in_dims=(None, 0, 0, 0))
    return lambda batch: tasks(dict(net.named_parameters()), *batch[:3])


# Right for MLPs. The second derivative of torch's batch norm is wrong under vmap, so that with nn.BatchNorm2d the
# second-order meta-gradient is not that of the loop.
def vmap_training(
    net: nn.Module, inner_lr: float, steps: int, *, loss: Loss = cross_entropy, first_order: bool = False
) -> OuterStep:
    """By hand: vmap over tasks, and one backward pass for all of them."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    logits = vmap_logits(net, inner_lr, steps, loss, first_order)

    def step(batch: Batch) -> float:
        optimizer.zero_grad()
        value = loss(logits(batch).flatten(0, 1), batch[3].flatten(0, 1))
        value.backward()
        optimizer.step()
        return value.item()

    return step


def vmap_evaluation(net: nn.Module, inner_lr: float, steps: int) -> Evaluation:
    """By hand: vmap over tasks; torch.func.grad works within no_grad."""
    logits = vmap_logits(net, inner_lr, steps, cross_entropy, True)

    def evaluate(batch: Batch) -> Tensor:
        with torch.no_grad():
            return (logits(batch).argmax(-1) == batch[3]).float().mean(1)

    return evaluate


def metalearn_algorithm(
    net: nn.Module, inner_lr: float, steps: int, backend: str, loss: Loss, first_order: bool
) -> Any:
    """parallel-metalearn's MAML on a model that shares the parameters of `net`."""
    from metalearn import algorithms  # pyright: ignore[reportMissingImports]
    from metalearn.inner_optimizers import InnerSGD  # pyright: ignore[reportMissingImports]
    from metalearn.loss import CategoricalAccuracy, CrossEntropy  # pyright: ignore[reportMissingImports]
    from metalearn.loss.base import BaseLoss  # pyright: ignore[reportMissingImports]
    from metalearn.model_wrappers import MAML_Model  # pyright: ignore[reportMissingImports]

    class Part(nn.Module):
        """The library hands its own keywords to backbone and head."""

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, **_: Any) -> Tensor:
            return self.net(x)

    class SquaredError(BaseLoss):
        """The library has no loss for regression."""

        def forward(self, out_dict: dict, targets: dict, model_states: Any = None, **_: Any) -> tuple[Tensor, Tensor]:
            value = mse_loss(out_dict["logits"], targets["labels"])
            return value, value.detach()

    model = MAML_Model(Part(metalearn_norms(net) if backend == "vmap" else net), Part(nn.Identity()))
    return algorithms.MAML(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), 1e-3),
        inner_optimizer=InnerSGD(model.get_fast_weights(), first_order, inner_lr, learn_lr=False),
        support_loss_fn=SquaredError() if loss is mse_loss else CrossEntropy(CategoricalAccuracy()),
        inner_steps=steps,
        device=next(net.parameters()).device,
        backend=backend,
    )


def metalearn_norms(net: nn.Module) -> nn.Module:
    """`net` with the library's own batch norm, which is right under vmap, around the same parameters.

    The library means its ModelTranslator for this, but in 0.5.6 that raises a TypeError at every batch norm.
    """
    from metalearn.nn_models.basic_layers import BatchNorm  # pyright: ignore[reportMissingImports]

    net = copy.deepcopy(net, {id(p): p for p in net.parameters()})
    for name, old in list(net.named_modules()):
        if isinstance(old, nn.BatchNorm2d):
            new = BatchNorm(old.num_features, old.eps, track_running_stats=old.track_running_stats)
            new.weight, new.bias = old.weight, old.bias
            parent, _, child = name.rpartition(".")
            setattr(net.get_submodule(parent), child, new)
    return net


def metalearn_training(
    backend: str,
    net: nn.Module,
    inner_lr: float,
    steps: int,
    *,
    loss: Loss = cross_entropy,
    first_order: bool = False,
) -> OuterStep:
    """parallel-metalearn: the step of its MAML."""
    algorithm = metalearn_algorithm(net, inner_lr, steps, backend, loss, first_order)

    def step(batch: Batch) -> float:
        xs, ys, xq, yq = batch
        value, _ = algorithm.step(iter([(xs, {"labels": ys}, xq, {"labels": yq})]), training=True)
        if backend == "sequential":  # whose loss 0.5.6 divides by the number of tasks twice when reporting it
            value *= len(xs)
        return value

    return step


def metalearn_evaluation(backend: str, net: nn.Module, inner_lr: float, steps: int) -> Evaluation:
    """parallel-metalearn: the step of its MAML with training=False, which returns only the mean over tasks."""
    algorithm = metalearn_algorithm(net, inner_lr, steps, backend, cross_entropy, True)
    attribute = {"vmap": "_accumulate_chunked_step", "sequential": "_run_sequential"}[backend]
    run = getattr(algorithm, attribute)
    kept: list[Tensor] = []

    def keep(process: Callable[..., tuple], *args: Any) -> tuple:  # each task's accuracy on the way
        def kept_process(*args: Any, **kwargs: Any) -> tuple:
            found = process(*args, **kwargs)
            kept.append(found[1].reshape(-1))
            return found

        return run(kept_process, *args)

    setattr(algorithm, attribute, keep)

    def evaluate(batch: Batch) -> Tensor:
        xs, ys, xq, yq = batch
        kept.clear()
        with torch.no_grad():  # its vmap backend would else keep the graph when testing too
            algorithm.step(iter([(xs, {"labels": ys}, xq, {"labels": yq})]), training=False)
        return torch.cat(kept)

    return evaluate


MAML: dict[str, Callable[..., OuterStep]] = {
    "TorchOpt": partial(torchopt_training, nn.Identity()),
    "higher": partial(higher_training, nn.Identity()),
    "parallel-metalearn": partial(metalearn_training, "vmap"),
    "parallel-metalearn sequential": partial(metalearn_training, "sequential"),
    "torch.func": partial(torch_func_training, nn.Identity()),
    "vmap": vmap_training,
}
MAML_EVALUATION: dict[str, Callable[[nn.Module, float, int], Evaluation]] = {
    "TorchOpt": torchopt_evaluation,
    "higher": higher_evaluation,
    "parallel-metalearn": partial(metalearn_evaluation, "vmap"),
    "parallel-metalearn sequential": partial(metalearn_evaluation, "sequential"),
    "torch.func": torch_func_evaluation,
    "vmap": vmap_evaluation,
}
ANIL: dict[str, Callable[[nn.Module, nn.Module, float, int], OuterStep]] = {
    "TorchOpt": torchopt_training,
    "higher": higher_training,
    "torch.func": torch_func_training,
}


@cache
def torchvision_operators() -> torch.library.Library | None:
    """Makes torchvision, which easyfsl imports, import.

    Its wheel for CUDA cannot load its compiled operators beside a CPU build of torch, and then stops at once because
    it registers shape rules for two operators that have no schema. easyfsl calls neither, so that a bare schema is
    enough. It lasts as long as the returned library, which the cache keeps.
    """
    try:
        import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports]
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library


def easyfsl_loader(images: Tensor, labels: Tensor, ways: int, shots: int, queries: int, tasks: int) -> DataLoader:
    """easyfsl's data path: a dataset of single images, its sampler of tasks and its collation."""
    torchvision_operators()
    from easyfsl.datasets import FewShotDataset  # pyright: ignore[reportMissingImports]
    from easyfsl.samplers import TaskSampler  # pyright: ignore[reportMissingImports]

    class Images(FewShotDataset):
        def __init__(self) -> None:
            self.labels: list[int] = labels.tolist()

        def __getitem__(self, item: int) -> tuple[Tensor, int]:
            return images[item] / 255, self.labels[item]

        def __len__(self) -> int:
            return len(images)

        def get_labels(self) -> list[int]:
            return self.labels

    class TakesSource(Sampler):
        """easyfsl 1.5.0 passes data_source to torch's Sampler, which no longer takes it."""

        def __init__(self, data_source: None) -> None:
            pass

    class Tasks(TaskSampler, TakesSource):
        pass

    dataset = Images()
    sampler = Tasks(dataset, ways, shots, queries, tasks)  # pyright: ignore[reportCallIssue]
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)


def easyfsl_training(loader: DataLoader, backbone: nn.Module) -> Callable[[], float]:
    """Trains easyfsl's prototypical network for the loader's episodes; returns the last loss."""
    from easyfsl.methods import PrototypicalNetworks  # pyright: ignore[reportMissingImports]

    model = PrototypicalNetworks(backbone)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def train() -> float:
        model.train()
        last = 0.0
        for support_images, support_labels, query_images, query_labels, _ in loader:
            optimizer.zero_grad()
            model.process_support_set(support_images, support_labels)
            loss = cross_entropy(model(query_images), query_labels)
            loss.backward()
            optimizer.step()
            last = loss.item()
        return last

    return train


def easyfsl_evaluation(loader: DataLoader, backbone: nn.Module) -> Callable[[], float]:
    """easyfsl's own `evaluate` on the loader's episodes: eval mode, no_grad, mean accuracy."""
    from easyfsl.methods import PrototypicalNetworks  # pyright: ignore[reportMissingImports]
    from easyfsl.utils import evaluate  # pyright: ignore[reportMissingImports]

    model = PrototypicalNetworks(backbone)
    return lambda: evaluate(model, loader, device="cpu", use_tqdm=False)


def easyfsl_episodes(loader: DataLoader) -> Callable[[], None]:
    """Draws the loader's episodes, and nothing else."""

    def draw() -> None:
        for _ in loader:
            pass

    return draw


class PlainTransformer(nn.Module):
    """PyTorch's own transformer encoder, reading a support set and queries as one sequence.

    Queries attend to the support set and to themselves, by a mask.
    """

    def __init__(self, inputs: int, ways: int, d: int, layers: int, heads: int):
        super().__init__()
        self.embed_x, self.embed_y = nn.Linear(inputs, d), nn.Embedding(ways, d)
        layer = nn.TransformerEncoderLayer(
            d, heads, 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(d, ways)

    def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        x = torch.cat(
            [self.embed_x(support_x.flatten(2)) + self.embed_y(support_y), self.embed_x(query_x.flatten(2))], 1
        )
        closed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
        closed[:, : support_x.shape[1]] = False
        closed.fill_diagonal_(False)
        return self.head(self.encoder(x, mask=closed)[:, support_x.shape[1] :])


def transformer_training(model: PlainTransformer) -> OuterStep:
    """One step of Adam on all tasks of a batch at once."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(batch: Batch) -> float:
        support_x, support_y, query_x, query_y = batch
        optimizer.zero_grad()
        loss = cross_entropy(model(support_x, support_y, query_x).flatten(0, 1), query_y.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
