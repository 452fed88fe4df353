import pytest
import torch
from learners import ROWS, learner, mlp, tasks_for, toy_data

import quickstudy as qs
from quickstudy import embedded
from quickstudy.engine import without_encoder
from quickstudy.tasks import Augmented, flip

ONCE = [name for name, row in ROWS.items() if row.build().embedding and not row.build().transductive]


def scores(one, tasks, **options):
    found = qs.evaluate(one, tasks, episodes=60, engine=qs.Engine("loop", 3, 2), **options)
    assert found.adapt_seconds > 0
    return found.scores["log_likelihood"]


@pytest.mark.parametrize("name", ONCE)
def test_what_is_embedded_once_is_scored_as_what_is_embedded_whenever_it_is_drawn(name, monkeypatch):
    one, tasks = learner(name), tasks_for(name)
    found = scores(one, tasks)
    monkeypatch.setattr(type(one), "embedding", None)
    torch.testing.assert_close(found, scores(one, tasks), rtol=1e-4, atol=1e-4)


class Counting(torch.nn.Flatten):
    """Counts the images that it has seen."""

    seen = 0

    def forward(self, x):
        Counting.seen += len(x)
        return super().forward(x)


def seen(tasks) -> int:
    Counting.seen = 0
    scores(qs.PrototypicalNetwork(Counting()), tasks)
    return Counting.seen


def test_an_example_is_embedded_once_after_the_first_chunk_of_episodes(monkeypatch):
    tasks = qs.FewShot(toy_data(), 3, 2, 4)  # 72 images; chunks of 20 episodes with 18 images each
    assert seen(tasks) <= 20 * 18 + 1 + 72 < 60 * 18
    monkeypatch.setattr(embedded, "MOST", 100)
    assert seen(tasks) == 60 * 18 + 1
    assert seen(Augmented(tasks, [flip])) == 60 * 18


def test_a_learner_whose_examples_see_each_other_embeds_every_task_anew():
    one = learner("protonet-batch")
    assert one.embedding
    assert one.transductive
    tasks = tasks_for("protonet-batch")
    assert torch.equal(scores(one, tasks), scores(one, tasks))


class Asks(qs.PrototypicalNetwork):
    """Asks its encoder for more than embeddings."""

    def predict(self, memory, x):
        assert self.encoder.out_features == 8
        return super().predict(memory, x)


def test_what_stands_for_an_encoder_tells_what_the_encoder_told():
    one = Asks(mlp(256, 8)).eval()
    found = qs.evaluate(one, tasks_for("protonet"), episodes=200, engine=qs.Engine("loop", 20, 1))
    assert len(found.scores["accuracy"]) == 200
    with pytest.raises(AttributeError):
        without_encoder(one, "encoder").encoder.nothing  # noqa: B018
