from typing import NamedTuple

import pytest
import torch

import quickstudy as qs
from quickstudy.contract import memory_of, negative_log_likelihood, parts_of

X = torch.zeros(2, 3, 4)


@pytest.mark.usefixtures("unchecked")
def test_examples_refuse_shapes_that_do_not_belong_together():
    with pytest.raises(ValueError, match=r"y has shape \[2, 2\], but x has \[2, 3, 4\]"):
        qs.Examples(X, torch.zeros(2, 2, dtype=torch.long), ways=2)


def test_classification_refuses_labels_that_are_not_whole_numbers():
    with pytest.raises(TypeError, match=r"with ways=2 the labels are whole numbers.*float32"):
        qs.Examples(X, torch.zeros(2, 3, 1), ways=2)


def test_regression_refuses_targets_that_are_whole_numbers():
    with pytest.raises(TypeError, match=r"without ways the targets are numbers.*Pass ways="):
        qs.Examples(X, torch.zeros(2, 3, dtype=torch.long))


def test_labels_beyond_the_ways_are_refused():
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\); found 0 to 2"):
        qs.Examples(X, torch.tensor([[0, 1, 2], [0, 1, 1]]), ways=2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8, torch.bool])
def test_labels_of_any_integer_type_are_taken_for_whole_numbers(dtype):
    labels = torch.tensor([[0, 1, 1], [1, 1, 0]])
    examples = qs.Examples(X, labels.to(dtype), ways=2, classes=labels.to(dtype))
    assert examples.y.dtype == examples.classes.dtype == torch.int64
    assert torch.equal(examples.y, labels)
    assert torch.equal(examples.classes, labels)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_example_may_have_any_label_and_a_mask_may_be_of_numbers():
    labels, mask = torch.tensor([[0, 1, -1], [1, -100, 7]]), torch.tensor([[1, 1, 0], [1, 0, 0]])
    examples = qs.Examples(X, labels, ways=2, classes=labels, mask=mask)
    assert torch.equal(examples.mask, mask == 1)
    assert examples.y.tolist() == [[0, 1, 0], [1, 0, 0]]
    for wrong in ({"mask": mask.float()}, {"classes": labels.float()}):
        with pytest.raises(TypeError, match=r"is torch.float32; class ids are whole numbers, and a mask true or false"):
            qs.Examples(X, labels.clamp(0, 1), ways=2, **wrong)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("part", ["x", "y", "classes", "mask"])
def test_examples_that_are_no_tensors_are_refused(part):
    labels = torch.zeros(2, 3, dtype=torch.long)
    parts = {"x": X, "y": labels, "classes": labels, "mask": labels == 0}
    parts[part] = parts[part].numpy()
    with pytest.raises(TypeError, match=f"{part} of Examples is a tensor, and here a ndarray; pass torch.as_tensor"):
        qs.Examples(ways=2, **parts)


def test_support_and_query_sets_are_of_the_same_tasks():
    one = qs.Examples(X, torch.zeros(2, 3, dtype=torch.long), ways=2)
    other = qs.Examples(X, torch.zeros(2, 3, dtype=torch.long), ways=3)
    with pytest.raises(ValueError, match="support has 2 tasks of 2 ways, query 2 of 3"):
        qs.Episodes(one, other)


def test_a_slice_of_episodes_is_those_tasks_with_everything_that_is_known_of_them():
    x = torch.arange(6.0).view(3, 2, 1)
    y, classes, mask = torch.tensor([[0, 1]] * 3), torch.arange(6).view(3, 2), torch.rand(3, 2) > 0.5
    examples = qs.Examples(x, y, 2, classes, mask)
    part = qs.Episodes(examples, examples)[1:].query
    assert part.x.flatten().tolist() == [2, 3, 4, 5]
    assert part.classes.flatten().tolist() == [2, 3, 4, 5]
    assert torch.equal(part.mask, mask[1:])
    assert part.ways == 2


def test_padding_does_not_count_in_the_likelihood():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 5.0]]])
    y, mask = torch.tensor([[0, 0]]), torch.tensor([[True, False]])
    nats = negative_log_likelihood(qs.categorical(logits), qs.Examples(torch.zeros(1, 2, 1), y, 2, mask=mask))
    torch.testing.assert_close(nats, -logits[:, 0].log_softmax(-1)[:, 0])


def test_minus_the_gaussian_log_likelihood_is_the_squared_error_up_to_a_constant():
    mean, y = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    nats = -qs.gaussian(mean).log_prob(y)
    constant = 4 * 0.5 * torch.log(torch.tensor(torch.pi))  # log sqrt(2 pi / 2) per dimension
    torch.testing.assert_close(nats, (mean - y).square().sum(-1) + constant)


class Pair(NamedTuple):
    mean: torch.Tensor
    spread: torch.Tensor


@pytest.mark.parametrize("memory", [torch.ones(2), (torch.ones(2), torch.zeros(2)), {"b": torch.ones(2)}])
def test_a_memory_of_every_kind_comes_back(memory):
    kind, parts = parts_of(memory)
    again = memory_of(kind, dict(sorted(parts.items())))
    assert type(again) is type(memory)
    torch.testing.assert_close(again, memory)


def test_a_named_memory_keeps_its_names_and_their_order(tmp_path):
    qs.save_memory(Pair(torch.ones(2), torch.zeros(2)), tmp_path / "memory.safetensors")
    mean, spread = again = qs.load_memory(tmp_path / "memory.safetensors")
    assert again.mean is mean
    assert mean.eq(1).all()
    assert spread.eq(0).all()


def test_more_classes_than_a_network_has_outputs_are_refused():
    query = qs.Examples(torch.zeros(2, 5, 1), torch.zeros(2, 5, dtype=torch.long), ways=4)
    for outputs in (4, 6):
        negative_log_likelihood(qs.categorical(torch.zeros(2, 5, outputs)), query)
    with pytest.raises(
        ValueError, match=r"built for 3 classes, and there are 4; train one for more, with 4 outputs, or"
    ):
        negative_log_likelihood(qs.categorical(torch.zeros(2, 5, 3)), query)


def test_numbers_of_another_length_than_the_targets_are_refused():
    query = qs.Examples(torch.zeros(2, 5, 1), torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"over numbers of shape \[1\] was predicted for targets of shape \[3\]"):
        negative_log_likelihood(qs.gaussian(torch.zeros(2, 5, 1)), query)


def test_a_distribution_that_is_none_for_each_target_is_refused():
    query = qs.Examples(torch.zeros(2, 5, 1), torch.zeros(2, 5, 1), ways=None)
    wrong = torch.distributions.Normal(torch.zeros(2, 5, 1), 1.0)
    with pytest.raises(
        ValueError, match=r"a Normal of batch shape \[2, 5, 1\] was predicted; needed is one distribution"
    ):
        negative_log_likelihood(wrong, query)
    assert negative_log_likelihood(qs.gaussian(torch.zeros(2, 5, 1)), query).shape == (2,)


def test_numbers_for_classes_are_refused():
    query = qs.Examples(torch.zeros(1, 5, 1), torch.zeros(1, 5, dtype=torch.long), ways=5)
    with pytest.raises(ValueError, match=r"a Independent over numbers was predicted, and the tasks have classes; take"):
        negative_log_likelihood(qs.gaussian(torch.zeros(1, 5, 5)), query)
