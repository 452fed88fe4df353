"""Every way to compute a batch of tasks gives what a plain loop gives."""

import threading

import pytest
import torch
from learners import ROWS, conv_net, episodes_for, learner, mlp, tasks_for
from test_maml import double
from torch import nn

import quickstudy as qs
from quickstudy.encoders.norm import BatchNorm
from quickstudy.engine import candidates, channels_last, growing, probe, replica, undivided
from quickstudy.inner_loop import running_by
from quickstudy.stacked import Unsuited, stacked_call

ENGINES = [
    qs.Engine(strategy, chunk, workers)
    for strategy in ("loop", "stacked", "vmap")
    for chunk, workers in ((None, 1), (1, 1), (3, 1), (1, 2), (2, 3))
]


class Custom(nn.Module):
    """A network that is no sequence of layers."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(256, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(self.one(x.flatten(1)).tanh())


def sequential(*layers: nn.Module) -> nn.Sequential:
    """Convolutions of a user's own, on 16x16 images."""
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), *layers, nn.Flatten(), nn.Linear(6 * 8 * 8, 3))


NETS = {
    "mlp": lambda: mlp(256, 16, 3),
    "custom": Custom,
    "conv4-batch": lambda: conv_net("batch"),
    "conv4-group": lambda: conv_net("group"),
    "conv4-strided": lambda: nn.Sequential(
        qs.Conv4(width=8, image_size=16, norm="batch", downsample="stride"), nn.Linear(8, 3)
    ),
    "own": lambda: sequential(
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.ELU(),
        nn.Conv2d(6, 6, 3, padding="same", groups=2),
        nn.AvgPool2d(2),
    ),
}


def gradient(maml: qs.MAML, engine: qs.Engine, episodes: qs.Episodes) -> tuple[torch.Tensor, torch.Tensor]:
    maml.zero_grad()
    loss = engine.gradient(maml, episodes)
    return loss, torch.cat([p.grad.flatten() for p in maml.parameters()])


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_every_engine_gives_the_meta_gradient_of_a_loop_in_float64(name, first_order):
    torch.manual_seed(0)
    maml = qs.MAML(NETS[name]().double(), inner_lr=0.1, inner_steps=3, first_order=first_order).train()
    episodes = double(episodes_for("maml", 5))
    expected_loss, expected = gradient(maml, qs.Engine(chunk=None), episodes)
    suited = 0
    for engine in ENGINES:
        try:
            loss, found = gradient(maml, engine, episodes)
        except Unsuited:
            assert (engine.strategy == "vmap") == (name not in ("mlp", "custom")) or name == "custom"
            continue
        suited += 1
        assert (found - expected).norm() / expected.norm() < 1e-6, engine
        assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-9)
    assert suited >= 10


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.frozen and not row.random])
def test_chunks_and_threads_change_no_learners_gradient_nor_its_running_averages(name):
    episodes = double(episodes_for(name, 5))
    found = []
    for engine in (qs.Engine(chunk=None), qs.Engine(chunk=1), qs.Engine(chunk=3), qs.Engine(chunk=1, workers=3)):
        one = learner(name).double().train()
        loss = engine.gradient(one, episodes)
        found.append([loss, *(p.grad for p in one.parameters()), *one.buffers()])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-10)


def test_a_learner_is_divided_as_far_as_its_layers_allow():
    assert undivided(learner("maml").train()) is None
    assert undivided(learner("protonet").train()) == "team"
    assert undivided(learner("protonet").eval()) is None
    foreign = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    assert undivided(qs.PrototypicalNetwork(foreign).train()) == "whole"
    assert undivided(qs.PrototypicalNetwork(nn.Sequential(nn.Flatten(), nn.Dropout())).train()) == "whole"


def test_a_thread_that_fails_does_not_leave_its_team_waiting():
    class Fails(qs.PrototypicalNetwork):
        def loss(self, episodes):
            if episodes.support.classes[0, 0] == marked:
                raise RuntimeError("this share fails")
            return super().loss(episodes)

    one, episodes = Fails(qs.Conv4(width=8, image_size=16)).train(), episodes_for("protonet", 4)
    marked = episodes.support.classes[2, 0]
    with pytest.raises(RuntimeError, match="this share fails"):
        qs.Engine(chunk=None, workers=2).gradient(one, episodes)


@pytest.mark.parametrize("name", ROWS)
def test_an_evaluation_is_the_same_by_every_engine(name):
    one = learner(name)
    tasks = tasks_for(name)
    expected = qs.evaluate(one, tasks, episodes=25, engine=qs.Engine(chunk=None))
    for engine in (qs.Engine(chunk=1), qs.Engine(chunk=3, workers=2)):
        found = qs.evaluate(one, tasks, episodes=25, engine=engine)
        assert found.episodes_hash == expected.episodes_hash
        for score in expected.scores:
            torch.testing.assert_close(found.scores[score], expected.scores[score], rtol=1e-3, atol=1e-4)


def test_threads_compute_beside_each_other_and_leave_the_number_of_threads_alone():
    before, names, together = torch.get_num_threads(), set(), threading.Barrier(2, timeout=60)

    def f(mine, item):
        names.add(threading.current_thread().name)
        together.wait()
        assert torch.get_num_threads() == 1
        return item

    one = learner("maml")
    assert qs.Engine(workers=2).each(one, f, range(6)) == [0, 1, 2, 3, 4, 5]
    assert len(names) == 2
    assert torch.get_num_threads() == before


def test_an_error_in_a_thread_is_raised():
    def f(mine, item):
        raise RuntimeError(f"item {item}")

    with pytest.raises(RuntimeError, match="item 0"):
        qs.Engine(workers=2).each(learner("maml"), f, range(4))


def test_a_replica_shares_numbers_and_ties_and_has_gradients_of_its_own():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    twin = replica(net, {})
    assert twin[1].weight is twin[0].weight
    assert twin[0].weight.data_ptr() == net[0].weight.data_ptr()
    twin(torch.ones(2, 4)).sum().backward()
    assert all(p.grad is None for p in net.parameters())
    assert len(list(twin.parameters())) == len(list(net.parameters())) == 3


class Draws(qs.MAML):
    """A learner whose loss is random."""

    def loss(self, episodes):
        return super().loss(episodes) * torch.rand(())


def test_a_probe_divides_nothing_that_draws_random_numbers():
    one, episodes = Draws(mlp(256, 8, 3)).train(), episodes_for("maml")
    assert probe(one, episodes, lambda engine, some: engine.gradient(one, some)) == qs.Engine(chunk=None)


def test_a_probe_tries_strategies_only_where_there_is_an_inner_loop():
    tried = []
    episodes = episodes_for("maml")
    for name in ("maml", "cnp"):
        probe(learner(name).train(), episodes, lambda engine, some: tried.append(engine.strategy))
        assert set(tried) == ({"loop", "stacked", "vmap"} if name == "maml" else {"loop"})
        tried.clear()


@pytest.mark.parametrize("name", ["protonet", "maml"])
def test_a_probe_leaves_no_trace(name):
    found = []
    for engine in (None, qs.Engine(chunk=None)):
        one = learner(name).double()
        tasks = Doubled(tasks_for(name))
        losses = [p.loss for p in qs.train(one, tasks, steps=2, batch=4, engine=engine)]
        found.append([torch.tensor(losses), *one.state_dict().values()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


class Doubled:
    """The same tasks in double precision, in which ways to compute them hardly differ."""

    def __init__(self, tasks):
        self.tasks = tasks

    def sample(self, tasks, generator):
        return double(self.tasks.sample(tasks, generator))


def test_chunks_grow_up_to_a_share_of_all_tasks():
    assert [e.chunk for e in growing("loop", 2, 16)] == [1, 4, 16]
    assert [e.chunk for e in growing("loop", 1, 3)] == [1, 3]
    alone = [e.chunk for series in candidates(9, adapts=False, coupled=False) for e in series if e.workers == 1]
    assert alone == [1, 4, 9]
    assert {e.chunk for series in candidates(3, adapts=True, coupled=True) for e in series} == {None}


def test_processes_that_meet_inside_a_loss_do_not_probe(monkeypatch):
    monkeypatch.setattr("quickstudy.engine.alone", lambda: False)
    refuse = lambda engine, episodes: pytest.fail("computed, which other processes would wait for")  # noqa: E731
    engine = probe(learner("protonet").train(), episodes_for("protonet"), refuse)
    assert engine.chunk is None


def test_a_run_keeps_its_engine_and_tells_it(tmp_path):
    engine = qs.Engine("stacked", 2, 1)
    progress = qs.train(learner("maml"), tasks_for("maml"), steps=4, batch=4, out=tmp_path, engine=engine)
    assert next(progress).engine == engine
    progress.close()
    *_, last = qs.train(learner("maml"), tasks_for("maml"), steps=4, batch=4, out=tmp_path, resume=True)
    assert last.engine == engine
    assert last.step == 4


def test_a_run_that_is_killed_before_its_first_checkpoint_keeps_the_engine_it_probed(tmp_path):
    first = qs.train(learner("maml"), tasks_for("maml"), steps=4, batch=4, out=tmp_path, checkpoint_seconds=1e9)
    engine = next(first).engine
    assert (tmp_path / "last.safetensors").exists()
    again = qs.train(learner("maml"), tasks_for("maml"), steps=4, batch=4, out=tmp_path, resume=True)
    assert next(again).engine == engine


def test_what_cannot_be_stacked_is_named():
    net = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4))
    with pytest.raises(ValueError, match="'stacked' does not know the layer LSTM; take 'loop'"):
        stacked_call(net, {}, torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="moves no running averages"):
        stacked_call(nn.BatchNorm2d(4).train(), {}, torch.zeros(2, 3, 4, 5, 5))
    maml = qs.MAML(conv_net("batch"))
    with running_by("vmap"), pytest.raises(ValueError, match="'vmap' takes networks of Linear"):
        maml.adapt(episodes_for("maml").support)


ACTIVATION, TIED = nn.ReLU(), nn.Linear(6, 6)
TWICE = {
    "activation": nn.Sequential(nn.Linear(4, 6), ACTIVATION, nn.Linear(6, 6), ACTIVATION, nn.Linear(6, 3)),
    "layer": nn.Sequential(nn.Linear(4, 6), TIED, nn.ReLU(), TIED, nn.Linear(6, 3)),
}


@pytest.mark.parametrize("net", TWICE.values(), ids=TWICE)
def test_a_module_that_comes_twice_is_applied_twice(net):
    x = torch.randn(3, 5, 4)
    torch.testing.assert_close(stacked_call(net, {}, x), net(x))
    other = {name: torch.randn(3, *p.shape) for name, p in net.named_parameters()}
    alone = [torch.func.functional_call(net, {n: w[t] for n, w in other.items()}, (x[t],)) for t in range(3)]
    torch.testing.assert_close(stacked_call(net, other, x), torch.stack(alone))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("tasks", [1, 3, 6])
def test_matrices_are_no_images_side_by_side(tasks):
    maml = qs.MAML(qs.MLP(16, 8, 3), inner_steps=0)
    support = qs.Examples(torch.randn(tasks, 6, 4, 4), torch.arange(6).expand(tasks, 6) % 3, 3)
    found = maml.predict(maml.adapt(support), support.x).logits
    expected = maml.net(support.x.flatten(0, 1)).unflatten(0, (tasks, 6)).log_softmax(-1)
    torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("unchecked")
def test_sets_of_vectors_are_looped_over_where_nothing_is_asked_for():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2))
    support = qs.Examples(torch.randn(2, 6, 5, 3), torch.arange(6).expand(2, 6) % 2, 2)
    maml = qs.MAML(net, inner_steps=0)
    found = maml.predict(maml.adapt(support), support.x).logits
    torch.testing.assert_close(found, torch.stack([net(task) for task in support.x]).log_softmax(-1))
    with pytest.raises(Unsuited, match="normalises groups of images only"):
        stacked_call(nn.GroupNorm(2, 4), {}, torch.zeros(2, 3, 4))


@pytest.mark.usefixtures("unchecked")
def test_engines_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="a strategy is one of loop, stacked, vmap; not 'fast'"):
        qs.Engine("fast")
    with pytest.raises(ValueError, match="chunk and workers are at least 1; got 0 and 1"):
        qs.Engine(chunk=0)


def test_statistics_of_an_evaluated_network_are_stacked_too():
    torch.manual_seed(0)
    net = qs.Conv4(width=8, image_size=16).train()
    net(torch.rand(20, 1, 16, 16))
    net.eval()
    x = torch.rand(3, 4, 1, 16, 16)
    torch.testing.assert_close(stacked_call(net, {}, x), torch.stack([net(task) for task in x]))


def test_a_replica_has_the_modules_in_its_lists_its_parametrizations_and_the_hooks_of_its_gradients():
    net = nn.Sequential(nn.Linear(4, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    net.order = [net[0]]
    net[0].weight.register_hook(torch.zeros_like)
    twin = replica(net, {})
    assert twin.order[0] is twin[0] is not net[0]
    x = torch.randn(2, 4)
    torch.testing.assert_close(twin(x), net(x), rtol=0, atol=0)
    twin(x).sum().backward()
    assert twin[0].weight.grad.eq(0).all()
    assert twin[0].bias.grad.ne(0).any()


class Mine(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


def hooked() -> nn.Linear:
    layer = nn.Linear(256, 3)
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


@pytest.mark.parametrize(
    "layer", [hooked, lambda: Mine(256, 3), lambda: nn.utils.parametrizations.weight_norm(nn.Linear(256, 3))]
)
def test_layers_that_are_not_the_usual_ones_are_looped_over_unless_stacking_is_asked_for(layer):
    net = nn.Sequential(nn.Flatten(), layer())
    one, episodes = qs.MAML(net, inner_lr=0.1, inner_steps=2).eval(), episodes_for("maml")
    with running_by("loop"):
        expected = one.predict(one.adapt(episodes.support), episodes.query.x).logits
    found = one.predict(one.adapt(episodes.support), episodes.query.x).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with pytest.raises(Unsuited), running_by("stacked"):
        one.adapt(episodes.support)


def test_kernels_that_a_convolution_looks_at_in_its_own_way_are_left_as_they_lie():
    class Standardised(nn.Conv2d):
        def forward(self, input):
            return self._conv_forward(
                input, self.weight - self.weight.view(len(self.weight), -1).mean(1)[:, None, None, None], self.bias
            )

    one = qs.PrototypicalNetwork(nn.Sequential(Standardised(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten()))
    channels_last(one)
    mine, usual = one.encoder[0].weight, one.encoder[1].weight
    assert mine.is_contiguous()
    assert usual.is_contiguous(memory_format=torch.channels_last)
    assert not usual.is_contiguous()


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_kernels_of_one_channel_make_all_layers_keep_the_channels_last(norm):
    layers = nn.Sequential(*qs.Conv4(norm=norm).blocks[0])
    one = qs.PrototypicalNetwork(nn.Sequential(layers, nn.Flatten()))
    channels_last(one)
    assert layers(torch.rand(3, 1, 28, 28)).is_contiguous(memory_format=torch.channels_last)


def test_a_loss_that_draws_random_numbers_is_computed_by_one_thread():
    assert undivided(learner("abml").train()) == "whole"
    assert undivided(learner("abml").eval()) is None


@pytest.mark.parametrize("level", [7.3, 100.3, 255.0])
def test_threads_agree_where_a_channel_is_far_from_zero_and_never_varies(level):
    x = torch.rand(8, 6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    x[:, :, 1] = level
    examples = qs.Examples(x, torch.arange(3).repeat(2).expand(8, -1), 3)
    losses = []
    for workers in (1, 2):
        torch.manual_seed(0)
        one = qs.PrototypicalNetwork(nn.Sequential(BatchNorm(2), nn.Flatten(), nn.Linear(32, 4))).train()
        losses.append(qs.Engine("loop", None, workers).gradient(one, qs.Episodes(examples, examples)))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-6)


def test_a_network_that_one_strategy_cannot_run_is_run_by_another():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(256, 3)

        def forward(self, x):
            return self.linear(x.flatten(1)) * (1 if x.mean().item() > 0 else 2)

    one = qs.MAML(Looks(), inner_lr=0.1)
    assert len(qs.evaluate(one, tasks_for("protonet"), episodes=20).scores["accuracy"]) == 20

    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(256, 3)

        def forward(self, x):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        qs.evaluate(qs.MAML(Broken(), inner_lr=0.1), tasks_for("protonet"), episodes=20)
