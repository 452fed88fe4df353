import dataclasses

import torch
from learners import episodes_for, mlp
from test_maml import double
from torch import nn
from torch.nn.functional import cross_entropy, layer_norm

import quickstudy as qs
from quickstudy.methods.metric.feat import SetToSet


def feat(**options) -> qs.FEAT:
    torch.manual_seed(0)
    return qs.FEAT(mlp(256, 8), **{"temperature": 2.0, "dropout": 0.0, **options}).double()


class Same(nn.Module):
    """The identity of sets."""

    def forward(self, z, sees=None):
        return z


def test_with_the_identity_for_a_transformer_it_is_a_prototypical_network_at_a_temperature():
    learner, episodes = feat(contrast=0.0), double(episodes_for("feat"))
    learner.transform = Same()
    prototypical = qs.PrototypicalNetwork(learner.encoder)
    logits = prototypical.predict(prototypical.adapt(episodes.support), episodes.query.x).logits / 2
    predicted = learner.predict(learner.adapt(episodes.support), episodes.query.x)
    torch.testing.assert_close(predicted.probs, logits.softmax(-1))
    expected = cross_entropy(logits.flatten(0, 1), episodes.query.y.flatten())
    torch.testing.assert_close(learner.loss(episodes), expected)


def test_the_transformer_adds_what_an_item_reads_from_the_set_and_normalises():
    torch.manual_seed(0)
    transform, z = SetToSet(4, dropout=0.0).double(), torch.rand(2, 3, 4).double()
    q, k, v = transform.qkv.weight.chunk(3)
    adapted = transform(z)
    for t in range(2):
        for n in range(3):
            scores = torch.stack([(q @ z[t, n]) @ (k @ other) / 4**0.5 for other in z[t]])
            read = sum(weight * (v @ other) for weight, other in zip(scores.softmax(0), z[t], strict=True))
            expected = layer_norm(z[t, n] + transform.out.weight @ read + transform.out.bias, (4,))
            torch.testing.assert_close(adapted[t, n], expected)


def test_what_the_transformer_adds_is_dropped_at_random_while_training_alone():
    transform, z = SetToSet(4, dropout=1.0).double(), torch.rand(2, 3, 4).double()
    torch.testing.assert_close(transform.train()(z), layer_norm(z, (4,)))
    without = SetToSet(4, dropout=0.0).double()
    without.load_state_dict(transform.state_dict())
    torch.testing.assert_close(transform.eval()(z), without(z))
    assert qs.FEAT(mlp(256, 8), dropout=0.3).transform.dropout.p == 0.3


def test_the_order_of_a_set_is_of_no_account():
    transform, z = SetToSet(4, dropout=0.0).double(), torch.rand(1, 5, 4).double()
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(transform(z)[:, order], transform(z[:, order]))


def test_the_contrastive_term_draws_examples_to_the_centre_of_their_class_adapted_by_itself():
    episodes = double(episodes_for("feat"))
    with_it, without = feat(contrast=0.3), feat(contrast=0.0)
    terms = []
    for t in range(len(episodes)):
        x = torch.cat([episodes.support.x[t], episodes.query.x[t]])
        y = torch.cat([episodes.support.y[t], episodes.query.y[t]])
        z = with_it.encoder(x)
        centres = [with_it.transform(z[y == k][None])[0].mean(0) for k in range(3)]
        logits = torch.stack([-(z - centre).square().sum(-1) / 2.0 for centre in centres], -1)
        terms.append(cross_entropy(logits, y))
    torch.testing.assert_close(with_it.loss(episodes), without.loss(episodes) + 0.3 * torch.stack(terms).mean())


def test_the_contrastive_term_does_not_see_padding():
    learner, episodes = feat(contrast=1.0), double(episodes_for("feat", tasks=2))
    cut = torch.ones_like(episodes.query.y, dtype=torch.bool)
    cut[:, -5:] = False

    def padded_by(value: float) -> torch.Tensor:
        x = episodes.query.x.where(cut[..., None, None, None], value)
        return learner.loss(qs.Episodes(episodes.support, dataclasses.replace(episodes.query, x=x, mask=cut)))

    torch.testing.assert_close(padded_by(0.0), padded_by(7.0))
    shorter = {name: getattr(episodes.query, name)[:, :-5] for name in ("x", "y", "classes")}
    expected = learner.loss(qs.Episodes(episodes.support, dataclasses.replace(episodes.query, **shorter)))
    torch.testing.assert_close(padded_by(7.0), expected)


def test_without_the_contrastive_term_the_loss_is_that_of_every_learner():
    learner, episodes = feat(contrast=0.0), double(episodes_for("feat"))
    torch.testing.assert_close(learner.loss(episodes), qs.MetaLearner.loss(learner, episodes))


def test_a_class_without_examples_is_no_part_of_the_set_that_others_are_adapted_to():
    learner, episodes = feat().eval(), double(episodes_for("feat"))
    wider = dataclasses.replace(episodes.support, ways=episodes.support.ways + 1)
    torch.testing.assert_close(learner.adapt(wider)[:, :-1], learner.adapt(episodes.support))
