import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.encoders.norm import BatchNorm, normalisation
from quickstudy.tensors import out_features, per_task


@pytest.mark.parametrize("downsample", ["pool", "stride"])
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (84, 3)])
@pytest.mark.parametrize("norm", ["running", "batch", "group", "none"])
def test_embeddings_are_as_long_as_the_encoder_says(downsample, size, channels, norm):
    encoder = qs.Conv4(channels, 16, image_size=size, downsample=downsample, norm=norm)
    assert encoder(torch.rand(2, channels, size, size)).shape == (2, encoder.out_features)


def test_conv4_has_the_parameters_of_the_papers_network():
    weights = sum(p.numel() for p in qs.Conv4(1, 64).parameters() if p.ndim > 1)
    assert weights == 9 * 64 + 3 * 9 * 64 * 64


def test_conv4_is_convolution_normalisation_rectifier_and_pooling_in_the_papers_order():
    torch.manual_seed(0)
    encoder, x = qs.Conv4(1, 4).eval(), torch.rand(2, 1, 28, 28)
    expected = x
    for convolution, norm, *_ in encoder.blocks:
        expected = nn.functional.max_pool2d(nn.functional.relu(norm(convolution(expected))), 2)
    torch.testing.assert_close(encoder(x), expected.flatten(1))


@pytest.mark.parametrize(("norm", "alone"), [("running", True), ("batch", False), ("group", True), ("none", True)])
def test_only_batch_statistics_let_examples_mix_when_evaluating(norm, alone):
    torch.manual_seed(0)
    encoder, x = qs.Conv4(1, 8, norm=norm).eval(), torch.rand(4, 1, 28, 28)
    same = torch.allclose(encoder(x)[:2], encoder(x[:2]), atol=1e-5)
    assert same == alone
    assert qs.PrototypicalNetwork(encoder).transductive != alone


def test_tasks_keep_their_own_batch_statistics():
    encoder, x = qs.Conv4(1, 8, norm="batch"), torch.rand(3, 5, 1, 28, 28)
    torch.testing.assert_close(per_task(encoder, x), torch.stack([encoder(task) for task in x]))


def test_running_statistics_are_those_of_ordinary_batch_normalisation():
    ours, theirs, x = BatchNorm(3), nn.BatchNorm2d(3), torch.rand(8, 3, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.usefixtures("unchecked")
def test_a_normalisation_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="norm is one of running, batch, group, task, none; not 'layer'"):
        normalisation("layer")


@pytest.mark.usefixtures("unchecked")
def test_encoders_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="images of at least 16 pixels; image_size is 8"):
        qs.Conv4(image_size=8)
    with pytest.raises(ValueError, match="downsample is 'pool' or 'stride', not 'max'"):
        qs.Conv4(downsample="max")
    with pytest.raises(ValueError, match="length of its input and of its output"):
        qs.MLP(3)


def test_an_encoder_that_does_not_tell_its_length_is_named():
    with pytest.raises(TypeError, match="Flatten does not tell the length of its embeddings"):
        out_features(nn.Flatten())


def test_any_width_can_be_normalised_by_groups():
    groups = [qs.Conv4(width=width, image_size=16, norm="group").blocks[0][1].num_groups for width in (5, 8, 12, 64)]
    assert groups == [5, 8, 4, 8]
