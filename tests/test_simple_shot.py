import numpy as np
import torch
from learners import episodes_for, learner, tasks_for, toy_data
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize
from test_maml import double
from torch.nn.functional import cross_entropy

import quickstudy as qs


def embeddings(one: qs.SimpleShot, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return one.encoder(x.flatten(0, -4)).numpy()


def test_it_is_scikit_learns_nearest_centroid_of_centred_and_normalised_features():
    one, episodes = learner("simpleshot").double().eval(), double(episodes_for("simpleshot", 20))
    one.statistics.running_mean += 0.3  # far enough from zero for centring to matter
    probs = one.predict(one.adapt(episodes.support), episodes.query.x).probs
    mean = one.statistics.running_mean.numpy()
    for t in range(len(episodes)):
        z, queries = embeddings(one, episodes.support.x[t]), embeddings(one, episodes.query.x[t])
        theirs = NearestCentroid().fit(normalize(z - mean), episodes.support.y[t].numpy())
        assert np.array_equal(probs[t].argmax(-1).numpy(), theirs.predict(normalize(queries - mean)))
        squared = ((normalize(queries - mean)[:, None] - theirs.centroids_) ** 2).sum(-1)
        torch.testing.assert_close(probs[t].detach(), torch.from_numpy(-10 * squared).softmax(-1))


def test_its_mean_is_the_running_average_of_all_embeddings_of_every_batch():
    one, tasks = learner("simpleshot").double().train(), tasks_for("simpleshot")
    mean = one.statistics.running_mean.numpy().copy()
    for step in range(5):
        episodes = double(tasks.sample(3, torch.Generator().manual_seed(step)))
        one.loss(episodes)
        z = np.concatenate([embeddings(one, part.x) for part in (episodes.support, episodes.query)])
        mean = 0.9 * mean + 0.1 * z.mean(0)
    np.testing.assert_allclose(one.statistics.running_mean.numpy(), mean)


def test_its_mean_stands_still_when_evaluating():
    one, episodes = learner("simpleshot").eval(), episodes_for("simpleshot")
    before = one.statistics.running_mean.clone()
    one.loss(episodes)
    assert torch.equal(one.statistics.running_mean, before)


def test_padding_is_no_part_of_the_mean():
    episodes, means = double(episodes_for("simpleshot")), []
    for pads in (0, 2):
        one = learner("simpleshot").double().train()
        support = episodes.support
        x = torch.cat([support.x, 100 * support.x[:, :pads]], 1)
        y, classes = (torch.cat([t, t[:, :pads]], 1) for t in (support.y, support.classes))
        mask = torch.arange(x.shape[1]).expand(len(x), -1) < support.x.shape[1]
        one.loss(qs.Episodes(qs.Examples(x, y, support.ways, classes, mask), episodes.query))
        means.append(one.statistics.running_mean)
    torch.testing.assert_close(*means)


def test_after_training_its_mean_is_that_of_the_training_examples():
    one, tasks = learner("simpleshot"), qs.FewShot(toy_data(), 6, 2, 4)
    optimizer = torch.optim.Adam(one.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for _ in qs.train(one, tasks, steps=100, batch=16, optimizer=optimizer, scheduler=schedule):
        pass
    z = embeddings(one, tasks.data.examples(torch.arange(len(tasks.data))))
    assert np.linalg.norm(one.statistics.running_mean.numpy() - z.mean(0)) < 0.03 * np.linalg.norm(z.mean(0))


def test_pre_training_is_cross_entropy_over_the_true_classes():
    one, episodes = learner("simpleshot").eval(), episodes_for("simpleshot")
    parts = (episodes.support, episodes.query)
    x, classes = (torch.cat(t) for t in zip(*((p.x.flatten(0, 1), p.classes.flatten()) for p in parts), strict=True))
    torch.testing.assert_close(one.loss(episodes), cross_entropy(one.head(one.encoder(x)), classes))
