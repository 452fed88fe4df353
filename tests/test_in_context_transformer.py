import pytest
import torch
from learners import episodes_for, learner
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

import quickstudy as qs
from quickstudy.tensors import per_task


def test_the_cache_gives_what_one_pass_over_support_and_queries_gives():
    episodes, one = episodes_for("in-context"), learner("in-context").eval()
    cached = one.predict(one.adapt(episodes.support), episodes.query.x).logits
    support, query = (one.embed_x(per_task(one.encoder, part.x)) for part in (episodes.support, episodes.query))
    mean = support.mean(1, keepdim=True)
    support, query = (one.norm_x(z) + one.norm_apart(z - mean) for z in (support, query))
    support = support + one.embed_y(episodes.support.y)
    tokens, shots = torch.cat([support, query], 1), support.shape[1]
    to_support = torch.zeros(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
    to_support[:, :shots] = True
    for layer in one.layers:
        normed = layer.norm_attention(tokens)
        q, (k, v) = layer.q(normed), layer.kv(normed).chunk(2, -1)
        split = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (q, k, v))
        read = scaled_dot_product_attention(*split, attn_mask=to_support).transpose(1, 2).flatten(2)
        tokens = tokens + layer.out(read)
        tokens = tokens + layer.mlp(layer.norm_mlp(tokens))
    expected = one.head(tokens[:, shots:])[..., :3].log_softmax(-1)
    torch.testing.assert_close(cached, expected, rtol=1e-4, atol=1e-5)


def test_what_all_embeddings_share_is_of_no_account_to_how_they_differ():
    encoder = nn.Linear(6, 8)
    encoder.out_features, y = 8, torch.arange(3).repeat(2, 2)
    one = qs.InContextTransformer(encoder, ways=3, d=32, layers=2, heads=2).double().eval()
    nn.init.zeros_(one.norm_x.weight)  # of a token, what differs from others remains
    x, query = torch.randn(2, 6, 6).double(), torch.randn(2, 4, 6).double()
    before = one.predict(one.adapt(qs.Examples(x, y, 3)), query).probs
    with torch.no_grad():
        encoder.bias += 100 * torch.randn(8)
    torch.testing.assert_close(one.predict(one.adapt(qs.Examples(x, y, 3)), query).probs, before)
    padded = [torch.cat([part, part[:, :2]], 1) for part in (x, y)]
    padding = qs.Examples(*padded, 3, mask=(torch.arange(8) < 6).expand(2, -1))
    torch.testing.assert_close(one.predict(one.adapt(padding), query).probs, before)


def test_fewer_ways_than_it_was_built_for_are_served():
    one = learner("in-context").eval()  # built for 4
    support = qs.Examples(torch.rand(2, 4, 1, 16, 16), torch.tensor([[0, 1, 0, 1]] * 2), ways=2)
    probs = one.predict(one.adapt(support), torch.rand(2, 5, 1, 16, 16)).probs
    assert probs.shape == (2, 5, 2)


def test_more_ways_than_it_was_built_for_are_refused():
    support = qs.Examples(torch.rand(1, 5, 1, 16, 16), torch.arange(5)[None], ways=5)
    with pytest.raises(ValueError, match="at most 4 ways; the tasks have 5"):
        learner("in-context").adapt(support)


@pytest.mark.parametrize(
    "build",
    [
        lambda: qs.InContextTransformer(nn.Identity(), d=100, heads=8),
        lambda: qs.TransformerNeuralProcess(nn.Identity(), d=100, heads=8),
        lambda: qs.AttentiveNeuralProcess(nn.Identity(), hidden=100, heads=8),
    ],
)
def test_a_width_that_heads_cannot_share_is_refused(build, monkeypatch):
    monkeypatch.setattr(nn.Identity, "out_features", 8, raising=False)
    with pytest.raises(ValueError, match="8 heads share a width of 100 numbers, which 8 does not divide; change one"):
        build()
