"""What every learner owes the contract, through one table."""

import dataclasses

import pytest
import torch
from learners import ROWS, WAYS, episodes_for, learner, mlp, tasks_for, toy_data
from torch.utils._pytree import tree_leaves, tree_map

import quickstudy as qs
from quickstudy.catalogue import METHODS
from quickstudy.seeds import seeded

every_learner = pytest.mark.parametrize("name", ROWS)


def parameters_of(predicted) -> torch.Tensor:
    """Logits, or means beside standard deviations."""
    return predicted.logits if hasattr(predicted, "logits") else torch.cat([predicted.mean, predicted.stddev], -1)


def answer(one: qs.MetaLearner, episodes: qs.Episodes) -> torch.Tensor:
    with torch.no_grad():
        return parameters_of(one.eval().predict(one.adapt(episodes.support), episodes.query.x))


def test_the_table_holds_every_method_of_the_catalogue():
    assert set(METHODS) <= set(ROWS)


@every_learner
def test_a_prediction_is_a_distribution_over_every_query_of_every_task(name):
    episodes = episodes_for(name)
    one = learner(name).eval()
    predicted = one.predict(one.adapt(episodes.support), episodes.query.x)
    assert predicted.batch_shape == episodes.query.x.shape[:2]
    assert predicted.log_prob(episodes.query.y).shape == episodes.query.x.shape[:2]
    if not ROWS[name].regression:
        torch.testing.assert_close(predicted.probs.sum(-1), torch.ones(episodes.query.y.shape))


@every_learner
def test_memory_is_tensors_with_a_leading_task_axis(name):
    episodes = episodes_for(name, tasks=3)
    leaves = tree_leaves(learner(name).eval().adapt(episodes.support))
    assert leaves
    assert all(isinstance(leaf, torch.Tensor) and len(leaf) == 3 for leaf in leaves)


@every_learner
def test_tasks_do_not_see_each_other(name):
    episodes, one = episodes_for(name), learner(name)
    together = answer(one, episodes)
    apart = torch.cat([answer(one, episode) for episode in episodes])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


@every_learner
def test_queries_see_each_other_only_where_the_learner_says_so(name):
    episodes, one = episodes_for(name, tasks=2), learner(name).eval()
    together = answer(one, episodes)
    one_by_one = torch.cat(
        [
            answer(one, qs.Episodes(episodes.support, cut(episodes.query, slice(q, q + 1))))
            for q in range(episodes.query.x.shape[1])
        ],
        1,
    )
    same = torch.allclose(together, one_by_one, rtol=1e-4, atol=1e-5)
    assert same != one.transductive


def cut(examples: qs.Examples, which) -> qs.Examples:
    changes = {
        name: getattr(examples, name)[:, which] for name in ("x", "y", "classes") if getattr(examples, name) is not None
    }
    return dataclasses.replace(examples, **changes)


@every_learner
def test_the_order_of_the_support_set_does_not_matter(name):
    if ROWS[name].ordered:
        pytest.skip("a sequence model reads the support set in order")
    episodes, one = episodes_for(name), learner(name)
    order = torch.randperm(episodes.support.x.shape[1], generator=torch.Generator().manual_seed(2))
    shuffled = qs.Episodes(cut(episodes.support, order), episodes.query)
    torch.testing.assert_close(answer(one, episodes), answer(one, shuffled), rtol=1e-3, atol=1e-4)


SEQUENTIAL = {
    "snail": (lambda: qs.SNAIL(mlp(256, 16), ways=2, shots=1, filters=8), 200, 3e-3),
    "mann": (lambda: qs.MANN(mlp(256, 16), ways=2, slots=8, width=8, heads=2, hidden=32, feed_forward=True), 500, 5e-3),
}


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_of_a_sequence_the_labels_are_learned_and_not_the_places(name):
    build, steps, lr = SEQUENTIAL[name]
    tasks = qs.FewShot(toy_data(12, 12), 2, 1, 4)
    torch.manual_seed(0)
    one = build()
    adam = torch.optim.Adam(one.parameters(), lr=lr)
    for _ in qs.train(one, tasks, steps=steps, batch=16, optimizer=adam, engine=qs.Engine()):
        pass
    test = tasks.sample(100, torch.Generator().manual_seed(1))
    turned = qs.Examples(test.support.x.flip(1), test.support.y.flip(1), 2)
    renamed = qs.Examples(test.support.x, 1 - test.support.y, 2)
    right = [
        (answer(one, qs.Episodes(support, test.query)).argmax(-1) == test.query.y).float().mean()
        for support in (test.support, turned, renamed)
    ]
    assert right[0] > 0.9
    assert right[1] > 0.9
    assert right[2] < 0.1


def test_shuffled_examples_keep_their_labels():
    torch.manual_seed(0)
    support = qs.Examples(torch.arange(12.0).view(2, 6, 1), torch.arange(6).expand(2, 6), 6)
    found = support.shuffled()
    assert torch.equal(found.x[..., 0] % 6, found.y.float())
    assert torch.equal(found.x.sort(1).values, support.x)
    assert not torch.equal(found.y[0], found.y[1])
    assert not torch.equal(found.y[0], support.y[0])


@every_learner
def test_the_support_set_is_what_a_prediction_comes_from(name):
    episodes, one = episodes_for(name), learner(name)
    other = tasks_for(name).sample(len(episodes), torch.Generator().manual_seed(99))
    assert not torch.allclose(answer(one, episodes), answer(one, qs.Episodes(other.support, episodes.query)), atol=1e-4)


@every_learner
def test_adapting_leaves_the_learner_alone(name):
    episodes, one = episodes_for(name), learner(name).eval()
    before = {k: v.clone() for k, v in one.state_dict().items()}
    attributes = set(vars(one))
    one.predict(one.adapt(episodes.support), episodes.query.x)
    assert set(vars(one)) == attributes
    assert all(torch.equal(before[k], v) for k, v in one.state_dict().items())


@every_learner
def test_a_fixed_seed_repeats_bit_for_bit(name):
    episodes = episodes_for(name)
    assert torch.equal(learner(name).loss(episodes), learner(name).loss(episodes))
    assert torch.equal(answer(learner(name), episodes), answer(learner(name), episodes))


@every_learner
def test_every_trainable_parameter_gets_a_gradient(name):
    one = learner(name).train()
    if ROWS[name].frozen:
        assert not any(p.requires_grad for p in one.parameters())
        return
    one.loss(episodes_for(name)).backward()
    grads = {k: p.grad for k, p in one.named_parameters()}
    assert [k for k, grad in grads.items() if grad is None or not grad.isfinite().all()] == []
    still = {k for k, grad in grads.items() if not grad.any()}
    if name == "meta-baseline":  # of its two stages of training, the second learns the temperature
        still.remove("temperature")
    assert all(k.endswith("blocks.0.0.bias") for k in still)  # the batch's mean takes it out again


@every_learner
@pytest.mark.usefixtures("unchecked")  # shapes are checked by the tests of one step
def test_meta_training_lowers_the_loss(name):
    if ROWS[name].frozen:
        pytest.skip("nothing to train")
    one, tasks = learner(name), tasks_for(name)
    before = nats(one, tasks)
    adam = torch.optim.Adam(one.parameters(), lr=2e-3)
    curve = [p.loss for p in qs.train(one, tasks, steps=ROWS[name].steps, batch=8, optimizer=adam)]
    if ROWS[name].surrogate:
        assert nats(one, tasks) < 0.9 * before
    else:
        assert sum(curve[-10:]) < 0.9 * sum(curve[:10])


@torch.no_grad()
def nats(one: qs.MetaLearner, tasks: qs.Tasks) -> float:
    """Of the queries, after adapting to the support set as a test does."""
    return qs.MetaLearner.loss(one.eval(), tasks.sample(32, seeded(0, "judged"))).item()


@every_learner
def test_memory_and_learner_survive_save_and_load(name, tmp_path):
    episodes, one = episodes_for(name), learner(name).eval()
    with torch.no_grad():
        memory = one.adapt(episodes.support)
    qs.save_memory(memory, tmp_path / "memory.safetensors")
    qs.save_learner(one, tmp_path / "learner.safetensors")
    torch.manual_seed(7)
    again = ROWS[name].build().eval()
    qs.load_learner(again, tmp_path / "learner.safetensors")
    back = qs.load_memory(tmp_path / "memory.safetensors")
    with torch.no_grad():
        predicted = parameters_of(again.predict(back, episodes.query.x))
    torch.testing.assert_close(predicted, answer(one, episodes))  # up to the memory layout of convolutions


@every_learner
def test_padding_behind_a_mask_changes_nothing(name):
    if ROWS[name].ordered:
        pytest.skip("a sequence model reads its padding")
    if ROWS[name].build().transductive:
        pytest.skip("batch statistics are taken over the padding too")
    episodes, one = episodes_for(name), learner(name)
    padded = tree_map(lambda t: torch.cat([t, t[:, :2].flip(-1)], 1), [episodes.support.x, episodes.support.y])
    exists = torch.ones(padded[0].shape[:2], dtype=torch.bool)
    exists[:, -2:] = False
    if not ROWS[name].regression:
        padded[1] = torch.cat([episodes.support.y, episodes.support.y[:, :2]], 1)
    support = qs.Examples(padded[0], padded[1], episodes.support.ways, mask=exists)
    torch.testing.assert_close(
        answer(one, episodes), answer(one, qs.Episodes(support, episodes.query)), rtol=1e-3, atol=1e-4
    )


OUTPUTS = ["maml", "maml-adjoint", "anil", "boil", "meta-sgd", "reptile", "imaml", "maml++", "meta-lstm", "abml"]
"""Learners whose network has an output for each class, as that of "scratch"."""


@pytest.mark.parametrize("name", [*OUTPUTS, "scratch"])
def test_more_classes_than_a_network_has_outputs_are_told(name):
    support = qs.FewShot(toy_data(), WAYS + 2, 1, 1).sample(2, seeded(0, "tests")).support
    with pytest.raises(ValueError, match=f"this network was built for {WAYS} classes, and there are {WAYS + 2}"):
        learner(name).eval().adapt(support)


@pytest.mark.parametrize("name", ["maml-regression", "abml-regression", "scratch-regression"])
def test_numbers_that_are_not_as_many_as_a_network_has_outputs_are_told(name):
    x, y = torch.zeros(2, 4, 1), torch.zeros(2, 4, 3)  # of which PyTorch would compare each with the one
    with pytest.raises(
        ValueError, match=r"over numbers of shape \[1\] was predicted for targets of shape \[3\]; build"
    ):
        learner(name).eval().adapt(qs.Examples(x, y))


PROTOTYPES = [
    *("protonet", "protonet-batch", "protonet-task", "protonet-resnet12", "matching", "matching-full-context"),
    *("relation", "mahalanobis", "feat", "proto-maml", "cnaps", "cnp", "anp"),
    *("linear-probe", "good-embedding", "simpleshot", "simpleshot-conv4", "meta-baseline", "transductive-fine-tune"),
]
"""Learners that compare a query with what is remembered of each class."""


def lacking_a_class(name: str, masked: bool) -> qs.Episodes:
    """Tasks whose class 1 is shown in no example, and is asked for; among the queries there are extreme ones."""
    episodes = episodes_for(name)
    support, query = episodes.support, episodes.query
    shown = support.y != 1
    support = dataclasses.replace(support, mask=shown) if masked else cut(support, shown[0])
    scales = torch.tensor([1.0, 0.0, -1.0, 5.0])[torch.arange(query.x.shape[1]) % 4]
    return qs.Episodes(support, dataclasses.replace(query, x=query.x * scales.view(-1, *[1] * (query.x.ndim - 2))))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.regression])
def test_a_class_without_examples_breaks_nothing_and_is_never_the_nearest(name, masked):
    if masked and ROWS[name].ordered:
        pytest.skip("a sequence model reads its padding")
    episodes, one = lacking_a_class(name, masked), learner(name)
    logits = answer(one, episodes)
    assert logits.isfinite().all()
    if name in PROTOTYPES:
        assert (logits[..., 1] < torch.stack([logits[..., 0], logits[..., 2]]).amin(0) - 50).all()
    if ROWS[name].frozen:
        return
    one.train().loss(episodes).backward()
    assert [k for k, p in one.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_of_a_task_without_any_example_every_class_is_as_likely():
    one = qs.PrototypicalNetwork(torch.nn.Identity())
    support = qs.Examples(torch.ones(1, 2, 3), torch.tensor([[0, 1]]), 3, mask=torch.zeros(1, 2, dtype=torch.bool))
    probs = one.predict(one.adapt(support), torch.randn(1, 4, 3)).probs
    torch.testing.assert_close(probs, torch.full((1, 4, 3), 1 / 3))
