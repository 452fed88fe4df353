import pytest
import torch
from learners import episodes_for, learner
from torch import nn
from torch.nn.functional import one_hot, softplus

import quickstudy as qs
from quickstudy.tensors import per_task


def of_pytorch(layer) -> nn.TransformerEncoderLayer:
    """PyTorch's own layer with the same weights."""
    d = layer.q.in_features
    theirs = nn.TransformerEncoderLayer(
        d, layer.heads, 4 * d, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )
    theirs.self_attn.in_proj_weight = nn.Parameter(torch.cat([layer.q.weight, layer.kv.weight]))
    theirs.self_attn.in_proj_bias = nn.Parameter(torch.cat([layer.q.bias, layer.kv.bias]))
    theirs.self_attn.out_proj, theirs.linear1, theirs.linear2 = layer.out, layer.mlp[0], layer.mlp[2]
    theirs.norm1, theirs.norm2 = layer.norm_attention, layer.norm_mlp
    return theirs


@pytest.mark.parametrize("name", ["tnp", "tnp-regression"])
def test_the_cache_gives_what_one_pass_of_pytorchs_transformer_over_all_tokens_gives(name):
    episodes, tnp = episodes_for(name), learner(name).train()
    support, query = (per_task(tnp.encoder, examples.x) for examples in (episodes.support, episodes.query))
    y = one_hot(episodes.support.y, 4).float() if tnp.targets is None else episodes.support.y
    flagged = torch.cat([support, y, torch.ones(*y.shape[:2], 1)], -1)
    missing = torch.cat([query, torch.zeros(*query.shape[:2], y.shape[2] + 1)], -1)
    pairs, count = torch.cat([flagged, missing], 1), support.shape[1]
    tokens = per_task(tnp.embed, pairs) + tnp.beside(pairs)
    hidden = torch.zeros(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
    hidden[:, count:] = True  # every token sees the support set alone
    for layer in tnp.layers:
        tokens = of_pytorch(layer)(tokens, src_mask=hidden)
    out = tnp.head(tokens[:, count:])
    predicted = tnp.predict(tnp.adapt(episodes.support), episodes.query.x)
    if tnp.targets is None:
        torch.testing.assert_close(predicted.logits, out[..., :3].log_softmax(-1), rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(predicted.mean, out[..., :1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(predicted.stddev, 0.01 + 0.99 * softplus(out[..., 1:]), rtol=1e-4, atol=1e-5)


def test_a_missing_target_is_not_a_target_of_zero():
    tnp = learner("tnp-regression")
    pairs = torch.zeros(1, 2, 18)
    pairs[:, 0, -1] = 1  # the flag
    tokens = tnp._token(pairs)
    assert not torch.allclose(tokens[:, 0], tokens[:, 1], atol=1e-2)


def test_no_answer_is_surer_than_the_floor():
    episodes = episodes_for("tnp-regression")
    torch.manual_seed(0)
    tnp = qs.TransformerNeuralProcess(qs.MLP(1, 16), targets=1, d=32, layers=2, heads=2, least_std=0.5)
    with torch.no_grad():
        tnp.head[-1].bias[1] = -50
    predicted = tnp.predict(tnp.adapt(episodes.support), episodes.query.x)
    torch.testing.assert_close(predicted.stddev, torch.full_like(predicted.mean, 0.5))


def test_fewer_ways_than_it_was_built_for_are_served():
    tnp = learner("tnp").eval()  # built for 4
    support = qs.Examples(torch.rand(2, 4, 1, 16, 16), torch.tensor([[0, 1, 0, 1]] * 2), ways=2)
    assert tnp.predict(tnp.adapt(support), torch.rand(2, 5, 1, 16, 16)).probs.shape == (2, 5, 2)


def test_tasks_that_it_was_not_built_for_are_refused():
    support = qs.Examples(torch.rand(1, 5, 1, 16, 16), torch.arange(5)[None], ways=5)
    with pytest.raises(ValueError, match="at most 4 ways; the tasks have 5"):
        learner("tnp").adapt(support)
    with pytest.raises(TypeError, match="built for 1 targets, but the tasks have classes"):
        learner("tnp-regression").adapt(qs.Examples(torch.rand(1, 2, 1), torch.tensor([[0, 1]]), ways=2))
    with pytest.raises(TypeError, match=r"built for classes, but the tasks have targets of shape \[1, 2, 1\]"):
        learner("tnp").adapt(qs.Examples(torch.rand(1, 2, 256), torch.rand(1, 2, 1)))
