"""Embeddings of what is known of a user and an item, as in MeLU (Lee et al., 2019). https://arxiv.org/abs/1908.00413"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class RatingEncoder(nn.Module):
    """An embedding for each code of an example, and for its flags the mean of their embeddings, side by side.

    What is unknown, code 0, is embedded as zero, as is an example without flags.

    Args:
        codes: How many values each of the codes has, 0 included, such as `Ratings.codes`.
        flags: The number of flags that follow them, such as of genres.
        d: Length of each embedding (32 in the paper).
        std: Of the first embeddings; small, so that what was seen seldom says little.
    """

    def __init__(self, codes: Sequence[int], flags: int, d: int = 32, std: float = 0.1):
        super().__init__()
        self.codes = len(codes)
        self.embeddings = nn.ModuleList(nn.Embedding(count, d, padding_idx=0) for count in codes)
        self.flags = nn.Linear(flags, d, bias=False)
        self.out_features = (self.codes + 1) * d
        with torch.no_grad():
            for weight in self.parameters():
                weight.normal_(std=std)
            for embedding in self.embeddings:
                embedding.weight[0] = 0  # pyright: ignore[reportIndexIssue, reportArgumentType]

    def forward(self, x: Int[Tensor, "example code"]) -> Float[Tensor, "example d"]:
        codes, flags = x[:, : self.codes], x[:, self.codes :].to(self.flags.weight.dtype)
        each = [embed(code) for embed, code in zip(self.embeddings, codes.unbind(1), strict=True)]
        return torch.cat([*each, self.flags(flags / flags.sum(1, keepdim=True).clamp(min=1))], 1)
