from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import toy_data

import quickstudy as qs
from quickstudy.seeds import seeded


def numbered(classes: int = 8, examples: int = 10, groups=None) -> qs.LabelledData:
    """Each example is its own number, so that one can see what was drawn."""
    x = torch.arange(classes * examples).float()[:, None]
    y = torch.arange(classes).repeat_interleave(examples)
    return qs.LabelledData("numbered", x, y, tuple(f"class{c}" for c in range(classes)), groups)


def test_no_example_is_in_both_support_and_query_set_or_twice():
    episodes = qs.FewShot(numbered(), 4, 3, 5).sample(50, seeded(0, 0))
    drawn = torch.cat([episodes.support.x, episodes.query.x], 1).squeeze(-1)
    assert drawn.shape == (50, 32)
    assert all(len(set(row.tolist())) == 32 for row in drawn)


def test_labels_belong_to_the_true_classes():
    episodes = qs.FewShot(numbered(), 4, 3, 5).sample(50, seeded(0, 0))
    for examples in (episodes.support, episodes.query):
        assert torch.equal(examples.x.squeeze(-1).long() // 10, examples.classes)
    for t in range(50):
        pairs = {
            (int(y), int(c))
            for e in (episodes.support, episodes.query)
            for y, c in zip(e.y[t], e.classes[t], strict=True)
        }
        assert len(pairs) == 4
        assert len({c for _, c in pairs}) == 4


def test_every_class_gets_every_label_and_every_example_is_drawn_about_equally_often():
    episodes = qs.FewShot(numbered(), 4, 1, 1).sample(8000, seeded(0, 0))
    table = torch.zeros(8, 4).index_put_(
        (episodes.support.classes.flatten(), episodes.support.y.flatten()), torch.tensor(1.0), accumulate=True
    )
    assert table.sum() == 32000
    assert (table / 1000 - 1).abs().max() < 0.15  # five standard deviations
    examples = torch.bincount(episodes.query.x.long().flatten(), minlength=80) / 400
    assert (examples - 1).abs().max() < 0.25


def test_a_batch_is_a_function_of_seed_and_step_alone():
    tasks = qs.FewShot(toy_data(), 3, 1, 2)
    first, again = (tasks.sample(4, seeded(0, "train", 5)) for _ in range(2))
    assert torch.equal(first.query.x, again.query.x)
    for other in (seeded(0, "train", 6), seeded(1, "train", 5), seeded(0, "episodes", 5)):
        assert not torch.equal(first.query.x, tasks.sample(4, other).query.x)


def test_ways_and_shots_vary_within_their_bounds():
    tasks = qs.FewShot(numbered(), (2, 5), (1, 3), 2)
    seen = {
        (e.support.ways, e.support.x.shape[1] // e.support.ways)
        for e in (tasks.sample(2, seeded(0, s)) for s in range(200))
    }
    assert seen == {(ways, shots) for ways in range(2, 6) for shots in range(1, 4)}


def test_classes_of_different_sizes_are_drawn_from_evenly():
    x = torch.arange(30.0)[:, None]
    y = torch.tensor([0] * 5 + [1] * 25)
    episodes = qs.FewShot(qs.LabelledData("uneven", x, y, ("few", "many")), 2, 1, 4).sample(2000, seeded(0, 0))
    few = episodes.query.classes == 0
    assert episodes.query.x.squeeze(-1)[few].max() == 4
    counts = torch.bincount(episodes.query.x.squeeze(-1)[~few].long(), minlength=30)[5:] / (8000 / 25)
    assert (counts - 1).abs().max() < 0.25


def test_tasks_within_a_group_never_mix_groups():
    groups = ("a", "a", "a", "b", "b", "b", "b", "c")
    episodes = qs.FewShot(numbered(groups=groups), 3, 1, 1, within_groups=True).sample(200, seeded(0, 0))
    drawn = [{groups[c] for c in row.tolist()} for row in episodes.support.classes]
    assert all(len(each) == 1 for each in drawn)
    assert set.union(*drawn) == {"a", "b"}


def test_of_groups_of_which_one_alone_is_large_enough_every_class_is_of_that_one():
    tasks = qs.FewShot(numbered(groups=("a",) * 3 + ("b",) * 5), 4, 1, 1, within_groups=True)
    assert set(tasks.draw(50, seeded(0, 0))[0].flatten().tolist()) == {3, 4, 5, 6, 7}


def test_data_without_a_class_is_refused():
    with pytest.raises(ValueError, match="2-way tasks need 2 classes; numbered has 0"):
        qs.FewShot(numbered().keep(lambda _: False), 2, 1, 1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("origins", [torch.rand(80), torch.arange(80) - 1, torch.arange(80) + 10**11])
def test_origins_that_are_no_numbers_from_zero_are_refused(origins):
    with pytest.raises(ValueError, match=r"numbered: origins are whole numbers from 0 to .*; got .* Number them anew"):
        replace(numbered(), origins=origins)


def test_bytes_become_floats_between_zero_and_one():
    data = qs.LabelledData("bytes", torch.tensor([[0], [255], [51]] * 4).byte(), torch.arange(12) // 6, ("a", "b"))
    x = qs.FewShot(data, 2, 1, 5).sample(1, seeded(0, 0)).query.x
    assert set(x.flatten().tolist()) <= {0.0, 1.0, torch.tensor(51 / 255).item()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((20, 1, 1), "20-way tasks need 20 classes; numbered has 8. Lower ways, or add classes"),
        ((5, 1, 15), "1-shot tasks with 15 queries need 16 examples per class; 'class0' of numbered has 10"),
        ((1, 1, 1), "ways is a number of at least 2"),
        ((5, 0, 1), "shots is a number of at least 1"),
        (((5, 3), 1, 1), "ways is a number of at least 2, or a pair"),
        ((5, 1, 0), "at least 1 query per class"),
    ],
)
def test_tasks_that_cannot_be_drawn_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        qs.FewShot(numbered(), *arguments)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("5", 1), r"ways is a number of at least 2, or a pair \(low, high\) of such; got '5'"),
        ((5, 1.0), r"shots is a number of at least 1, or a pair \(low, high\) of such; got 1.0"),
        (((2, 3, 4), 1), r"ways is a number of at least 2.*; got \(2, 3, 4\)"),
        ((5, 1, "15"), "queries is a number, of query examples per class; got '15'"),
    ],
)
def test_ways_shots_and_queries_that_are_no_numbers_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        qs.FewShot(numbered(), *arguments)


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_numbers():
    tasks = qs.FewShot(numbered(), np.int64(3), (np.int64(1), 1), np.int64(2))
    assert (tasks.ways, tasks.shots, tasks.queries) == ((3, 3), (1, 1), 2)


def test_groups_are_asked_for_only_where_there_are_some():
    with pytest.raises(ValueError, match="numbered has no groups"):
        qs.FewShot(numbered(), 2, 1, 1, within_groups=True)
    with pytest.raises(ValueError, match="no group of numbered has the 4 classes"):
        qs.FewShot(numbered(groups=("a",) * 3 + ("b",) * 3 + ("c",) * 2), 4, 1, 1, within_groups=True)


def test_sinusoids_are_sine_waves_of_the_papers_range():
    episodes = qs.Sinusoids(5, 10).sample(500, seeded(0, 0))
    x = torch.cat([episodes.support.x, episodes.query.x], 1).double()
    y = torch.cat([episodes.support.y, episodes.query.y], 1).double()
    assert -5 <= x.min() < -4.9
    assert 4.9 < x.max() <= 5
    waves = torch.cat([x.sin(), x.cos()], -1)  # y = A cos(phase) sin x - A sin(phase) cos x
    fitted = torch.linalg.lstsq(waves, y).solution
    torch.testing.assert_close(waves @ fitted, y, rtol=0, atol=1e-4)
    amplitude = fitted.norm(dim=1)
    phase = torch.atan2(-fitted[:, 1], fitted[:, 0])
    assert amplitude.min() + 1e-3 >= 0.1
    assert 4.8 < amplitude.max() <= 5 + 1e-3
    assert phase.min() >= -1e-3
    assert 3.0 < phase.max() <= torch.pi + 1e-3


def of_patients(*counts: list[int]) -> qs.LabelledData:
    """Classes whose examples come from patients, so many of each; a patient is of one class."""
    y = torch.cat([torch.full([sum(some)], c) for c, some in enumerate(counts)])
    patients = torch.arange(sum(map(len, counts))).repeat_interleave(torch.tensor([n for some in counts for n in some]))
    x = torch.stack([patients.float(), torch.arange(len(y)).float()], 1)
    return qs.LabelledData("patients", x, y, tuple(f"class{c}" for c in range(len(counts))), origins=patients)


def test_no_patient_is_both_learned_from_and_asked_about_when_they_are_kept_apart():
    data = of_patients([9, 9], [5, 4, 3], [2] * 6, [20, 1, 1, 1])
    for tasks, mixed in ((qs.FewShot(data, 3, (1, 3), 3, apart=True), False), (qs.FewShot(data, 3, 3, 3), True)):
        episodes = tasks.sample(200, seeded(0, 0))
        both = [
            set(support[:, 0].tolist()) & set(query[:, 0].tolist())
            for support, query in zip(episodes.support.x, episodes.query.x, strict=True)
        ]
        assert any(both) == mixed
        rows = torch.cat([episodes.support.x, episodes.query.x], 1)[..., 1]
        assert all(len(set(row.tolist())) == len(row) for row in rows)
        assert torch.equal(data.y[episodes.query.x[..., 1].long()], episodes.query.classes)


def test_a_patient_of_several_classes_is_on_one_side_of_a_task():
    y = torch.arange(3).repeat_interleave(12)
    data = qs.LabelledData("shared", y[:, None].float(), y, ("a", "b", "c"), origins=torch.arange(4).repeat(9))
    tasks = qs.FewShot(data, 3, 3, 3, apart=True)
    _, rows = tasks.draw(100, seeded(0, 0))
    support, query = data.origins[rows[..., :3]].flatten(1), data.origins[rows[..., 3:]].flatten(1)
    assert not (support[:, :, None] == query[:, None]).any()


def test_classes_that_cannot_be_kept_apart_are_told():
    with pytest.raises(
        ValueError, match="the 1 origins of class 'class1' cannot be divided into 2 support and 3 query"
    ):
        qs.FewShot(of_patients([9, 9], [18]), 2, 2, 3, apart=True)
    with pytest.raises(ValueError, match="numbered does not tell the origins of its examples; pass origins="):
        qs.FewShot(numbered(), 2, 2, 3, apart=True)


def test_origins_stay_with_their_examples():
    data = of_patients([2, 3], [4, 1], [1, 5])
    chosen = data.select([2, 0])
    assert torch.equal(chosen.origins.float(), chosen.x[:, 0])
    pictures = qs.LabelledData(
        "turned", torch.rand(4, 1, 3, 3), torch.arange(4) % 2, ("a", "b"), origins=torch.arange(4)
    )
    assert torch.equal(pictures.rotated().origins, torch.arange(4).repeat(4))


def test_data_whose_parts_do_not_belong_together_are_refused():
    with pytest.raises(
        ValueError, match="2 classes with 3 groups; each example needs one label and origin, each class"
    ):
        qs.LabelledData("few", torch.zeros(4, 1), torch.arange(4) % 2, ("a", "b"), ("x", "y", "z"))
