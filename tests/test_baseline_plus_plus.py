import torch
from learners import episodes_for, mlp
from test_maml import double
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

import quickstudy as qs


def baseline(**options) -> qs.BaselinePlusPlus:
    torch.manual_seed(0)
    return qs.BaselinePlusPlus(mlp(256, 16), classes=6, **options).double().eval()


def test_pre_training_is_cross_entropy_of_scaled_cosines_over_the_true_classes():
    one, episodes = baseline(scale=7.0), double(episodes_for("baseline++"))
    nats = []
    for part in (episodes.support, episodes.query):
        for x, c in zip(part.x.flatten(0, 1), part.classes.flatten(), strict=True):
            cosines = torch.stack([cosine_similarity(one.encoder(x[None])[0], w, dim=0) for w in one.head.weight])
            nats.append(-(7 * cosines[c] - (7 * cosines).exp().sum().log()))
    torch.testing.assert_close(one.loss(episodes), torch.stack(nats).mean())


def test_a_task_is_learned_by_stochastic_gradient_descent_with_momentum_as_pytorch_does_it():
    one, episodes = baseline(steps=30, lr=0.05, momentum=0.8), double(episodes_for("baseline++"))
    memory = one.adapt(episodes.support)
    for t in range(len(episodes)):
        z = one.encoder(episodes.support.x[t]).detach()
        weight = normalize(z.mean(0), dim=0).repeat(3, 1).requires_grad_()
        sgd = torch.optim.SGD([weight], lr=0.05, momentum=0.8)
        for _ in range(30):
            sgd.zero_grad()
            cosines = cosine_similarity(z[:, None], weight[None], dim=-1)
            cross_entropy(10 * cosines, episodes.support.y[t]).backward()
            sgd.step()
        torch.testing.assert_close(memory[t], weight.detach())


def test_with_no_steps_it_does_not_know_one_class_from_another():
    one, episodes = baseline(steps=0), double(episodes_for("baseline++"))
    probs = one.predict(one.adapt(episodes.support), episodes.query.x).probs
    torch.testing.assert_close(probs, torch.full_like(probs, 1 / 3))


def test_an_answer_depends_on_the_angle_of_an_embedding_and_not_on_its_length():
    one, episodes = baseline(), double(episodes_for("baseline++"))
    one.encoder = torch.nn.Flatten()
    memory = one.adapt(episodes.support)
    longer = one.predict(memory, 5 * episodes.query.x).logits
    torch.testing.assert_close(longer, one.predict(memory, episodes.query.x).logits)


def test_what_is_learned_of_a_task_does_not_depend_on_the_length_of_embeddings():
    one, episodes = baseline(), double(episodes_for("baseline++"))
    one.encoder = torch.nn.Flatten()
    longer = qs.Examples(50 * episodes.support.x, episodes.support.y, 3)
    torch.testing.assert_close(one.adapt(longer), one.adapt(episodes.support))


def test_adapting_asks_the_encoder_for_no_gradient():
    one, episodes = baseline(steps=3), double(episodes_for("baseline++"))
    assert not one.adapt(episodes.support).requires_grad
    assert all(p.grad is None for p in one.parameters())


def test_its_steps_fit_the_support_set():
    one, episodes = baseline(), double(episodes_for("baseline++"))
    answers = one.predict(one.adapt(episodes.support), episodes.support.x).probs.argmax(-1)
    assert torch.equal(answers, episodes.support.y)
