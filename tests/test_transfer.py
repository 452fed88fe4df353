import copy
from dataclasses import replace

import pytest
import torch
from learners import episodes_for, learner, mlp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from torch.nn.functional import cross_entropy

import quickstudy as qs
from quickstudy.training import Validation


@pytest.mark.parametrize(("ways", "penalty"), [(2, 1.0), (3, 1.0), (3, 0.1)])
def test_the_linear_probe_is_scikit_learns_logistic_regression_on_embeddings(ways, penalty):
    episodes = doubled(ways)
    probe = qs.LinearProbe(learner("linear-probe").encoder, classes=6, C=penalty).eval().double()
    probs = probe.predict(probe.adapt(episodes.support), episodes.query.x).probs
    for t in range(3):
        with torch.no_grad():
            z, zq = probe.encoder(episodes.support.x[t]), probe.encoder(episodes.query.x[t])
        theirs = LogisticRegression(C=penalty, max_iter=1000).fit(z.numpy(), episodes.support.y[t].numpy())
        torch.testing.assert_close(probs[t], torch.tensor(theirs.predict_proba(zq.numpy())), rtol=1e-4, atol=1e-5)


def doubled(ways: int) -> qs.Episodes:
    """Tasks in float64: in float32, rounding decides where the solver stops."""
    drawn = qs.FewShot(toy(), ways, 3, 4).sample(3, torch.Generator().manual_seed(0))
    return qs.Episodes(*(replace(part, x=part.x.double()) for part in (drawn.support, drawn.query)))


@pytest.mark.parametrize("ways", [2, 3])
def test_a_good_embedding_is_the_same_on_features_of_length_one(ways):
    episodes = doubled(ways)
    probe = learner("good-embedding").eval().double()
    probs = probe.predict(probe.adapt(episodes.support), episodes.query.x).probs
    for t in range(3):
        with torch.no_grad():
            z, zq = (normalize(probe.encoder(part.x[t]).numpy()) for part in (episodes.support, episodes.query))
        theirs = LogisticRegression(max_iter=1000).fit(z, episodes.support.y[t].numpy())
        expected = torch.tensor(theirs.predict_proba(zq))
        torch.testing.assert_close(probs[t], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(probs, logits_without(probe, episodes).softmax(-1), atol=1e-2)


def logits_without(probe: qs.LinearProbe, episodes: qs.Episodes) -> torch.Tensor:
    plain = qs.LinearProbe(probe.encoder, classes=6)
    return plain.predict(plain.adapt(episodes.support), episodes.query.x).logits


def toy() -> qs.LabelledData:
    from learners import toy_data

    return toy_data()


@pytest.mark.parametrize("name", ["linear-probe", "fine-tune", "good-embedding", "transductive-fine-tune"])
def test_pre_training_is_cross_entropy_over_the_true_classes(name):
    one, episodes = learner(name).eval(), episodes_for(name)
    parts = (episodes.support, episodes.query)
    x = torch.cat([part.x.flatten(0, 1) for part in parts])
    classes = torch.cat([part.classes.flatten() for part in parts])
    torch.testing.assert_close(one.loss(episodes), cross_entropy(one.head(one.encoder(x)), classes))


@pytest.mark.parametrize("name", ["linear-probe", "simpleshot"])
def test_pre_training_takes_the_mean_over_the_examples_of_a_task_that_exist(name):
    one, episodes = learner(name).eval(), episodes_for(name)
    support, query = episodes.support, episodes.query
    there = torch.ones(query.y.shape, dtype=torch.bool)
    there[0, 5:], there[2, ::2] = False, False  # some tasks have fewer queries, and anything may lie in their place
    x = query.x.where(there.view(*there.shape, *[1] * (query.x.ndim - 2)), 100.0)
    ragged = replace(query, x=x, classes=query.classes.where(there, -100), mask=there)
    nats = []
    for t, exists in enumerate(there):
        shown = torch.cat([support.x[t], query.x[t, exists]])
        classes = torch.cat([support.classes[t], query.classes[t, exists]])
        nats.append(cross_entropy(one.head(one.encoder(shown)), classes))
    torch.testing.assert_close(one.loss(qs.Episodes(support, ragged)), torch.stack(nats).mean())
    none = replace(support, x=100 * support.x, mask=torch.zeros(support.y.shape, dtype=torch.bool))
    alone = [cross_entropy(one.head(one.encoder(query.x[t])), query.classes[t]) for t in range(len(query))]
    torch.testing.assert_close(one.loss(qs.Episodes(none, query)), torch.stack(alone).mean())


def test_pre_training_without_true_classes_is_refused():
    x, y = torch.rand(1, 2, 256), torch.tensor([[0, 1]])
    episodes = qs.Episodes(qs.Examples(x, y, 2), qs.Examples(x, y, 2))
    with pytest.raises(ValueError, match="needs the examples' true class ids"):
        learner("linear-probe").loss(episodes)


def test_more_training_classes_than_it_was_built_for_are_refused():
    probe = qs.LinearProbe(mlp(256, 16), classes=2)
    with pytest.raises(ValueError, match=r"class id \d is none of the 2 training classes.*classes=len"):
        probe.loss(episodes_for("linear-probe", tasks=8))


def test_a_class_id_below_zero_is_refused():
    episodes = episodes_for("linear-probe")
    wrong = replace(episodes.query, classes=torch.full_like(episodes.query.classes, -100))
    with pytest.raises(ValueError, match="class id -100 is none of the 6 training classes"):
        qs.LinearProbe(mlp(256, 16), classes=6).loss(qs.Episodes(episodes.support, wrong))


@pytest.mark.parametrize("name", ["maml", "anil", "boil", "proto-maml"])
def test_a_setting_of_training_that_is_chosen_is_evaluated_with_where_no_other_was_given(name):
    one, tasks = learner(name), qs.FewShot(toy(), 3, 2, 4)
    accuracies = {}
    for one.inner_steps in (0, 5):
        accuracies[one.inner_steps] = qs.evaluate(one, tasks, episodes=20).scores["log_likelihood"]
    assert not torch.equal(*accuracies.values())


def test_a_setting_that_changes_no_answer_is_not_chosen_among():
    one, tasks = learner("maml"), qs.FewShot(toy(), 3, 2, 4)
    one.test_inner_lr, before = 0.1, one.inner_lr
    with pytest.raises(ValueError, match="this MAML answers alike whatever its inner_lr.*such as test_inner_lr"):
        qs.tune(one, tasks, {"inner_lr": [7.0, 8.0]}, episodes=4)
    assert one.inner_lr == before


def test_a_step_size_is_chosen_on_validation_tasks():
    one, tasks = learner("fine-tune"), qs.FewShot(toy(), 3, 2, 4)
    found = {}
    for one.lr in (0.0, 0.001, 0.1):
        found[one.lr] = qs.evaluate(one, tasks, episodes=20, seed=1, stream="validation").goodness
    diverges, one.lr = 1e9, 7.0
    best = max(found, key=lambda lr: found[lr])
    assert best > 0
    assert qs.tune(one, tasks, {"lr": [diverges, *found]}, episodes=20, seed=1) == {"lr": best}
    assert one.lr == best
    assert qs.tune(one, tasks, {"lr": [0.2], "steps": [3]}, episodes=20) == {"lr": 0.2, "steps": 3}
    assert qs.tune(one, tasks, episodes=20)["lr"] in qs.FineTune.choices["lr"]


def test_of_numbers_too_a_step_size_that_diverges_is_not_chosen():
    torch.manual_seed(0)
    one = qs.FromScratch(qs.MLP(1, 20, 1), steps=30, likelihood=qs.gaussian)
    assert qs.tune(one, qs.Sinusoids(5), {"lr": [1e20, 0.01]}, episodes=10) == {"lr": 0.01}


@pytest.mark.usefixtures("unchecked")
def test_weights_are_judged_at_the_settings_that_are_best_for_them():
    one, tasks = qs.FineTune(mlp(256, 16), classes=6, steps=30, lr=1e20), qs.FewShot(toy(), 3, 2, 4)
    found = [p.validation for p in qs.train(one, tasks, steps=2, batch=2, validate=Validation(tasks, every=1))]
    assert min(found) > 0.5
    assert one.lr == 1e20


def test_a_method_that_names_no_choices_has_nothing_to_tune():
    assert qs.tune(learner("linear-probe"), qs.FewShot(toy(), 3, 2, 4)) == {}


def test_a_setting_keeps_its_value_where_trying_others_fails():
    one = learner("fine-tune")
    lr = one.lr
    with pytest.raises(ValueError, match="at least 2 episodes"):
        qs.tune(one, qs.FewShot(toy(), 3, 2, 4), {"lr": [0.3]}, episodes=1)
    assert one.lr == lr


@pytest.mark.parametrize(
    ("choices", "message"),
    [({"rate": (0.1,)}, "FineTune has no setting 'rate'"), ({"lr": ()}, r"no value to choose for 'lr'.*\(0.1, 0.01\)")],
)
def test_what_cannot_be_tuned_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        qs.tune(learner("fine-tune"), qs.FewShot(toy(), 3, 2, 4), choices)


def test_fine_tuning_with_no_steps_does_not_know_one_class_from_another():
    one, episodes = qs.FineTune(mlp(256, 16), classes=6, steps=0), episodes_for("fine-tune")
    probs = one.predict(one.adapt(episodes.support), episodes.query.x).probs
    torch.testing.assert_close(probs, torch.full_like(probs, 1 / 3))


def test_fine_tuning_is_gradient_descent_on_encoder_and_head():
    torch.manual_seed(0)
    encoder, episodes = mlp(256, 16, 8), episodes_for("fine-tune", tasks=1)
    one = qs.FineTune(encoder, classes=6, steps=2, lr=0.1)
    memory = one.adapt(episodes.support)
    head = torch.nn.Linear(8, 3)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    net = torch.nn.Sequential(encoder, head)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        sgd.zero_grad()
        cross_entropy(net(episodes.support.x[0]), episodes.support.y[0]).backward()
        sgd.step()
    for name, weight in net.named_parameters():
        torch.testing.assert_close(memory[name][0], weight.detach())


def test_from_scratch_is_gradient_descent_on_each_task_by_itself():
    torch.manual_seed(0)
    net, episodes = mlp(256, 16, 3), episodes_for("scratch", tasks=2)
    one = qs.FromScratch(net, steps=3, lr=0.05)
    memory = one.adapt(episodes.support)
    for t in range(2):
        alone = copy.deepcopy(net).requires_grad_()
        sgd = torch.optim.SGD(alone.parameters(), lr=0.05)
        for _ in range(3):
            sgd.zero_grad()
            cross_entropy(alone(episodes.support.x[t]), episodes.support.y[t]).backward()
            sgd.step()
        for name, weight in alone.named_parameters():
            torch.testing.assert_close(memory[name][t], weight.detach())


def test_from_scratch_with_zero_steps_is_its_network():
    net, episodes = mlp(256, 16, 3), episodes_for("scratch")
    one = qs.FromScratch(net, steps=0)
    logits = one.predict(one.adapt(episodes.support), episodes.query.x).logits
    torch.testing.assert_close(logits[0], net(episodes.query.x[0]).log_softmax(-1))


def test_from_scratch_has_nothing_to_meta_train():
    one = learner("scratch")
    before = [p.clone() for p in one.parameters()]
    assert list(qs.train(one, qs.FewShot(toy(), 3, 1, 2), steps=3, batch=2)) == []
    assert all(torch.equal(a, b) for a, b in zip(before, one.parameters(), strict=True))


def test_a_probe_is_fitted_under_autocast_too():
    one, episodes = learner("linear-probe").eval(), episodes_for("linear-probe")
    with torch.autocast("cpu", torch.bfloat16):
        found = one.predict(one.adapt(episodes.support), episodes.query.x)
    expected = one.predict(one.adapt(episodes.support), episodes.query.x)
    torch.testing.assert_close(found.probs.float(), expected.probs, rtol=0, atol=0.05)
