import torch
from learners import episodes_for, learner, mlp
from torch import nn

import quickstudy as qs


class Product(nn.Module):
    """Scores a pair of numbers by their product."""

    def forward(self, pair):
        return pair.prod(1, keepdim=True)


def products() -> tuple[qs.RelationNetwork, torch.Tensor]:
    one = qs.RelationNetwork(nn.Identity(), relation=Product())
    return one, one.adapt(qs.Examples(torch.tensor([[[1.0], [3.0], [-1.0]]]), torch.tensor([[0, 0, 1]]), ways=2))


def test_probabilities_are_the_scores_of_equation_1_divided_by_their_sum():
    one, memory = products()
    assert memory.squeeze().tolist() == [2.0, -1.0]
    scores = torch.tensor([[1.0, -0.5], [4.0, -2.0]]).sigmoid()
    probs = one.predict(memory, torch.tensor([[[0.5], [2.0]]])).probs[0]
    torch.testing.assert_close(probs, scores / scores.sum(-1, keepdim=True))


def test_the_loss_is_the_squared_error_of_equation_2_over_the_queries_that_exist():
    one, _ = products()
    support = qs.Examples(torch.tensor([[[1.0], [3.0], [-1.0]]] * 2), torch.tensor([[0, 0, 1]] * 2), ways=2)
    query = qs.Examples(
        torch.tensor([[[0.5], [2.0]]] * 2),
        torch.tensor([[0, 1]] * 2),
        ways=2,
        mask=torch.tensor([[True, True], [True, False]]),
    )
    first, second = torch.tensor([1.0, -0.5]).sigmoid(), torch.tensor([4.0, -2.0]).sigmoid()
    of_first = ((first[0] - 1) ** 2 + first[1] ** 2) / 2
    of_second = (second[0] ** 2 + (second[1] - 1) ** 2) / 2
    expected = ((of_first + of_second) / 2 + of_first) / 2
    torch.testing.assert_close(one.loss(qs.Episodes(support, query)), expected)


def test_scores_that_minimise_the_squared_error_are_the_probabilities_that_it_predicts():
    """A relation module free to say anything, trained on a coin that falls on class 0 seven times in ten."""
    free = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    one = qs.RelationNetwork(nn.Identity(), relation=free)
    support = qs.Examples(torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[0, 1]]), ways=2)
    query = qs.Examples(torch.zeros(1, 10, 1), torch.tensor([[0] * 7 + [1] * 3]), ways=2)
    descent = torch.optim.LBFGS(one.parameters(), max_iter=50, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        descent.zero_grad()
        loss = one.loss(qs.Episodes(support, query))
        loss.backward()
        return loss

    descent.step(closure)
    predicted = one.predict(one.adapt(support), query.x).probs[0]
    torch.testing.assert_close(predicted, torch.tensor([[0.7, 0.3]] * 10), rtol=0, atol=1e-3)


def test_feature_maps_are_compared_by_convolutions_as_in_the_paper():
    torch.manual_seed(0)
    maps = qs.Conv4(width=4, image_size=32).blocks  # [4, 2, 2]
    relation = nn.Sequential(nn.Conv2d(8, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 1))
    one = qs.RelationNetwork(maps, relation=relation).eval()
    x, query = torch.rand(2, 4, 1, 32, 32), torch.rand(2, 3, 1, 32, 32)
    memory = one.adapt(qs.Examples(x, torch.tensor([[0, 1, 0, 1]] * 2), ways=2))
    assert memory.shape == (2, 2, 4, 2, 2)
    prototype = (maps(x[1, 0][None]) + maps(x[1, 2][None])) / 2
    pairs = [torch.cat([c, maps(query[1, 2][None])], 1) for c in (prototype, (maps(x[1, 1:2]) + maps(x[1, 3:4])) / 2)]
    scores = torch.cat([relation(pair).sigmoid() for pair in pairs]).flatten()
    torch.testing.assert_close(one.predict(memory, query).probs[1, 2], scores / scores.sum())


def test_the_relation_module_is_an_mlp_on_both_embeddings_unless_given():
    one, episodes = learner("relation").eval(), episodes_for("relation", tasks=1)
    memory, z = one.adapt(episodes.support), one.encoder(episodes.query.x[0])
    expected = torch.cat([one.relation(torch.cat([c.expand_as(z), z], 1)) for c in memory[0]], 1)
    scores = expected.sigmoid()
    probs = one.predict(memory, episodes.query.x).probs[0]
    torch.testing.assert_close(probs, scores / scores.sum(-1, keepdim=True))


def test_the_mlp_begins_with_nothing_but_the_difference_of_the_embeddings():
    torch.manual_seed(0)
    relation, a, b, shift = qs.RelationNetwork(mlp(4, 3)).relation, *torch.rand(3, 2, 3)
    torch.testing.assert_close(relation(torch.cat([a, b], 1)), relation(torch.cat([a + shift, b + shift], 1)))


def test_the_loss_is_computed_in_full_precision_under_autocast():
    one, episodes = learner("relation"), episodes_for("relation")
    with torch.autocast("cpu", torch.bfloat16):
        assert one.loss(episodes).dtype == torch.float32
