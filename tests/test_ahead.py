import threading

import pytest
import torch
from learners import tasks_for

from quickstudy.seeds import seeded
from quickstudy.tasks.ahead import Ahead


def test_the_next_batch_is_drawn_while_this_one_is_in_use():
    drawn, event = [], threading.Event()

    def draw(step):
        drawn.append((step, threading.current_thread().name))
        if step == 6:
            event.set()
        return tasks_for("maml").sample(2, seeded(0, step))

    ahead = Ahead(draw)
    batch = ahead.batch(5)
    assert event.wait(60)
    assert torch.equal(batch.query.x, tasks_for("maml").sample(2, seeded(0, 5)).query.x)
    ahead.batch(5)
    ahead.batch(6)
    ahead.pool.shutdown()
    assert sorted(step for step, _ in drawn) == [5, 6, 7]
    assert all(name.startswith("draw") for _, name in drawn)


def test_an_error_while_drawing_is_raised_at_its_step():
    def draw(step):
        if step == 3:
            raise OSError("the disk is gone")
        return tasks_for("maml").sample(2, seeded(0, step))

    ahead = Ahead(draw)
    ahead.batch(2)
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.batch(3)


def test_what_may_not_be_drawn_early_is_drawn_when_it_is_asked_for():
    drawn = []

    def draw(step):
        drawn.append((step, threading.current_thread()))
        return tasks_for("maml").sample(2, seeded(0, step))

    ahead = Ahead(draw, early=False)
    batches = [ahead.batch(step) for step in (0, 0, 1)]
    assert drawn == [(step, threading.current_thread()) for step in (0, 0, 1)]
    assert torch.equal(batches[2].query.x, tasks_for("maml").sample(2, seeded(0, 1)).query.x)
