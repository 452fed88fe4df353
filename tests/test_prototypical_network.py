import torch
from learners import episodes_for
from sklearn.neighbors import NearestCentroid
from torch import nn

import quickstudy as qs


def test_with_the_identity_encoder_it_is_the_nearest_centroid_classifier():
    episodes = episodes_for("protonet", tasks=8)
    learner = qs.PrototypicalNetwork(nn.Flatten())
    probs = learner.predict(learner.adapt(episodes.support), episodes.query.x).probs
    for t in range(8):
        theirs = NearestCentroid().fit(episodes.support.x[t].flatten(1), episodes.support.y[t])
        assert theirs.predict(episodes.query.x[t].flatten(1)).tolist() == probs[t].argmax(-1).tolist()
        torch.testing.assert_close(  # eq. 1
            torch.tensor(theirs.centroids_, dtype=torch.float), learner.adapt(episodes.support)[t]
        )


def test_distances_are_squared_as_in_equation_2():
    x = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])
    learner = qs.PrototypicalNetwork(nn.Identity())
    memory = learner.adapt(qs.Examples(x, torch.tensor([[0, 1]]), ways=2))
    probs = learner.predict(memory, torch.tensor([[[0.0, 1.0]]])).probs[0, 0]
    expected = torch.tensor([-1.0, -18.0]).softmax(0)  # 0 + 1 and 9 + 9, not their roots
    torch.testing.assert_close(probs, expected)


def test_classes_may_have_different_numbers_of_examples():
    x = torch.tensor([[[0.0], [2.0], [10.0]]])
    prototypes = qs.PrototypicalNetwork(nn.Identity()).adapt(qs.Examples(x, torch.tensor([[0, 0, 1]]), ways=2))
    assert prototypes.squeeze().tolist() == [1.0, 10.0]
