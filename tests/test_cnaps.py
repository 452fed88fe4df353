from dataclasses import replace

import pytest
import torch
from learners import conv_net, episodes_for, mlp, padded, toy_data
from test_maml import double
from torch import nn

import quickstudy as qs
from quickstudy.seeds import seeded


def strong(norm="group", **options) -> qs.CNAPs:
    """One whose predictions are not small, as they are to begin with."""
    torch.manual_seed(0)
    one = qs.CNAPs(qs.Conv4(width=8, image_size=16, norm=norm), mlp(256, 16), hidden=16, **options)
    for network in (one.film, one.weight, one.bias):
        nn.init.normal_(network[-1].weight, std=0.3)
        nn.init.normal_(network[-1].bias, std=0.3)
    return one


def embed(encoder: qs.Conv4, film: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The encoder, a layer at a time, with the output of every normalisation layer scaled and shifted."""
    gammas, betas = film.view(2, 4, 8, 1, 1)
    for block, gamma, beta in zip(encoder.blocks, gammas, betas, strict=True):
        convolution, norm, *rest = block
        x = (1 + gamma) * norm(convolution(x)) + beta
        for layer in rest:
            x = layer(x)
    return x.flatten(1)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_its_logits_equal_a_plain_loop_in_float64(norm):
    one, episodes = strong(norm).double(), double(episodes_for("cnaps"))
    for name in sum(one.norms, ()):
        nn.init.uniform_(one.encoder.get_parameter(name), 0.5, 1.5)
    found = one.predict(one.adapt(episodes.support), episodes.query.x).logits
    for t in range(len(episodes)):
        x, y = episodes.support.x[t], episodes.support.y[t]
        film = one.film(torch.stack([one.set_encoder(example[None])[0] for example in x]).mean(0))
        z = embed(one.encoder, film, x)
        query, scores = embed(one.encoder, film, episodes.query.x[t]), []
        for way in range(3):
            mean = z[y == way].mean(0)
            scores.append(query @ (mean + one.weight(mean)) + one.bias(mean))
        torch.testing.assert_close(found[t], torch.stack(scores, 1).log_softmax(1))


def test_with_its_predictors_at_zero_it_is_the_encoder_with_class_means():
    one, episodes = strong(), episodes_for("cnaps")
    for network in (one.film, one.weight, one.bias):
        nn.init.zeros_(network[-1].weight)
        nn.init.zeros_(network[-1].bias)
    found = one.predict(one.adapt(episodes.support), episodes.query.x).logits
    for t in range(len(episodes)):
        z, query = one.encoder(episodes.support.x[t]), one.encoder(episodes.query.x[t])
        means = torch.stack([z[episodes.support.y[t] == way].mean(0) for way in range(3)])
        torch.testing.assert_close(found[t], (query @ means.T).log_softmax(1))


def test_what_it_predicts_does_not_depend_on_the_order_of_the_support_set():
    one, support = strong().double(), double(episodes_for("cnaps")).support
    order = torch.tensor([5, 2, 0, 1, 4, 3])
    shuffled = replace(support, x=support.x[:, order], y=support.y[:, order], classes=None)
    memory, again = one.adapt(support), one.adapt(shuffled)
    for name, predicted in memory.items():
        torch.testing.assert_close(again[name], predicted)
    assert (memory["film"][0] - memory["film"][1]).abs().max() > 1e-3


def test_padding_of_the_support_set_has_no_part_in_what_it_predicts():
    one, support = strong().double(), double(episodes_for("cnaps")).support
    memory, again = one.adapt(support), one.adapt(padded(support, 3))
    for name, predicted in memory.items():
        torch.testing.assert_close(again[name], predicted)


def test_one_learner_takes_any_number_of_ways():
    one = strong()
    for ways in (2, 5):
        episodes = qs.FewShot(toy_data(), ways, 1, 2).sample(3, seeded(0, "tests"))
        predicted = one.predict(one.adapt(episodes.support), episodes.query.x)
        assert predicted.logits.shape == (3, 2 * ways, ways)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_stacked_tasks_give_the_gradient_of_a_loop(norm):
    one, episodes, found = strong(norm).double().train(), double(episodes_for("cnaps")), []
    for strategy in ("loop", "stacked"):
        one.zero_grad()
        qs.Engine(strategy, 2).gradient(one, episodes)
        found.append(torch.cat([p.grad.flatten() for p in one.parameters()]))
    assert (found[1] - found[0]).norm() / found[0].norm() < 1e-6


def test_a_frozen_encoder_stays_as_it_is_running_statistics_and_all():
    one = strong("running", frozen=True).train()
    before = {name: tensor.clone() for name, tensor in one.encoder.state_dict().items()}
    predictor = one.film[-1].weight.clone()
    tasks = qs.FewShot(toy_data(), 3, 2, 4)
    assert len(list(qs.train(one, tasks, steps=2, batch=2))) == 2
    assert all(torch.equal(before[name], tensor) for name, tensor in one.encoder.state_dict().items())
    assert not torch.equal(predictor, one.film[-1].weight)
    assert one.train().training
    assert not one.encoder.training
    assert not one.transductive


def test_an_encoder_that_it_cannot_modulate_is_refused():
    with pytest.raises(ValueError, match="modulates normalisation layers with weights and biases; MLP has none"):
        qs.CNAPs(mlp(256, 16), mlp(256, 16))
    with pytest.raises(ValueError, match="CNAPs trains its network on one task at a time"):
        qs.CNAPs(conv_net("running")[0], mlp(256, 16))
