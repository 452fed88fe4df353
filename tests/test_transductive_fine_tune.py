import math

import pytest
import torch
from learners import episodes_for, learner, mlp, toy_data
from test_maml import double
from torch import nn
from torch.distributions import Categorical
from torch.nn.functional import cross_entropy

import quickstudy as qs
from quickstudy.inner_loop import running_by
from quickstudy.methods.transfer.transductive_fine_tune import transductive_loss

NETS = {"mlp": lambda: mlp(256, 16), "conv4": lambda: qs.Conv4(width=8, image_size=16)}


def transductive(net: str = "mlp", **options) -> qs.TransductiveFineTune:
    torch.manual_seed(0)
    return qs.TransductiveFineTune(NETS[net](), classes=6, **options).double().eval()


def rectified(one: qs.TransductiveFineTune, x: torch.Tensor) -> torch.Tensor:
    outputs = one.head(one.encoder(x))
    return (outputs - outputs.mean(1, keepdim=True)).relu()


def by_hand(one: qs.TransductiveFineTune, support: qs.Examples, x: torch.Tensor) -> torch.Tensor:
    """The logits of one task's queries, with a network of its own that PyTorch's Adam trains."""
    state = {k: v.clone() for k, v in one.state_dict().items()}

    def features(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(rectified(one, x), dim=-1)

    z = rectified(one, support.x[0]).detach()
    weight = torch.stack([z[support.y[0] == c].mean(0) for c in range(3)])
    weight = (weight / weight.norm(dim=1, keepdim=True)).requires_grad_()
    bias = torch.zeros(3, dtype=torch.double, requires_grad=True)
    adam = torch.optim.Adam([*one.parameters(), weight, bias], lr=one.lr)
    for _ in range(one.steps):
        adam.zero_grad()
        p = (features(x) @ weight.T + bias).softmax(-1)
        entropy = -(p * p.log()).sum(-1).mean()
        (cross_entropy(features(support.x[0]) @ weight.T + bias, support.y[0]) + entropy).backward()
        adam.step()
    logits = (features(x) @ weight.T + bias).log_softmax(-1).detach()
    one.load_state_dict(state)
    return logits


@pytest.mark.parametrize("strategy", ["loop", "stacked"])
@pytest.mark.parametrize("net", NETS)
def test_a_prediction_is_made_by_a_network_trained_on_the_task_by_adam(net, strategy):
    one, episodes = transductive(net, steps=4, lr=0.01), double(episodes_for("transductive-fine-tune"))
    with running_by(strategy):
        found = one.predict(one.adapt(episodes.support), episodes.query.x).logits
    for t, episode in enumerate(episodes):
        torch.testing.assert_close(found[t], by_hand(one, episode.support, episode.query.x[0]), rtol=1e-5, atol=1e-7)


def test_what_all_outputs_of_pre_training_have_in_common_changes_nothing():
    one, episodes = transductive(steps=4, lr=0.01), double(episodes_for("transductive-fine-tune"))
    found = []
    for _ in range(2):
        found.append(one.predict(one.adapt(episodes.support), episodes.query.x).logits)
        with torch.no_grad():
            one.head.bias -= 100
    torch.testing.assert_close(*found)


def test_its_loss_is_cross_entropy_of_the_support_set_plus_entropy_of_the_queries():
    support = Categorical(probs=torch.tensor([[[0.5, 0.5], [0.2, 0.8], [0.6, 0.4]]]))
    query = Categorical(probs=torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]))
    exists = torch.tensor([[True, True, False]])
    nats = -(math.log(0.5) + math.log(0.8)) / 2
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75) + math.log(0.5)) / 2
    found = transductive_loss(support, query, torch.tensor([[0, 1, 1]]), exists)
    torch.testing.assert_close(found, torch.tensor([nats + entropy]))


def test_with_no_steps_it_answers_by_cosines_with_the_class_means_of_rectified_outputs():
    one, episodes = transductive(steps=0), double(episodes_for("transductive-fine-tune"))
    probs = one.predict(one.adapt(episodes.support), episodes.query.x).probs
    for t in range(len(episodes)):
        z, queries = (rectified(one, part.x[t]) for part in (episodes.support, episodes.query))
        means = torch.stack([z[episodes.support.y[t] == c].mean(0) for c in range(3)])
        cosines = nn.functional.cosine_similarity(queries[:, None], means[None], dim=-1)
        torch.testing.assert_close(probs[t], cosines.softmax(-1))


def test_padding_of_the_support_set_changes_nothing():
    one, episodes = transductive(steps=3, lr=0.01), double(episodes_for("transductive-fine-tune"))
    support = episodes.support
    padded = qs.Examples(
        torch.cat([support.x, 9 * support.x[:, :2]], 1),
        torch.cat([support.y, support.y[:, 1:3]], 1),
        ways=3,
        mask=torch.arange(8).expand(len(support), -1) < 6,
    )
    answers = [one.predict(one.adapt(examples), episodes.query.x).logits for examples in (support, padded)]
    torch.testing.assert_close(*answers)


def test_a_prediction_leaves_no_gradient_on_the_learner_and_wants_none():
    one, episodes = learner("transductive-fine-tune").eval(), episodes_for("transductive-fine-tune")
    with torch.no_grad():
        predicted = one.predict(one.adapt(episodes.support), episodes.query.x)
    assert not predicted.logits.requires_grad
    assert all(p.grad is None for p in one.parameters())


def test_it_says_that_it_is_transductive():
    assert transductive().transductive
    tasks = qs.FewShot(toy_data(), 3, 2, 4)
    assert qs.evaluate(learner("transductive-fine-tune"), tasks, episodes=2, engine=qs.Engine()).transductive
