"""Prompts of a causal language model: rows of token ids, and the cache of keys and values that remembers them."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from quickstudy.encoders.texts import PAD, padded

PIECES = ("labels", "free", "before", "between", "after")


class Template(nn.Module):
    """What is written around texts and labels, as token ids; see `LanguageModelInContext`.

    Raises:
        ValueError: Nothing where something must be written.
    """

    begin: Tensor
    labels: Tensor
    free: Tensor
    before: Tensor
    between: Tensor
    after: Tensor

    def __init__(
        self, tokenizer: Any, labels: Sequence[str], before: str, between: str, after: str, free: Sequence[str]
    ):
        super().__init__()
        self.tokenizer = tokenizer
        written = (between, *labels, *free)
        if not labels or not free or not all(map(self.ids, written)):
            raise ValueError(f"labels, texts without content and what lies between have tokens each; got {written}.")
        begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self.register_buffer("begin", torch.tensor([begin], dtype=torch.long), persistent=False)
        for name, texts in zip(PIECES, (labels, free, [before], [between], [after]), strict=True):
            self.register_buffer(name, self.tokens(texts), persistent=False)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "text length"]:
        return padded([self.ids(text) for text in texts])

    def written(
        self, x: Int[Tensor, "task text length"], y: Int[Tensor, "task text"] | None = None
    ) -> Int[Tensor, "task text longer"]:
        """Texts with their labels; without labels, up to where they would be."""
        pieces = (self.before, x, self.between) + (() if y is None else (self.labels[y], self.after))
        return torch.cat([piece.expand(*x.shape[:2], -1) for piece in pieces], -1)

    def begun(self, tokens: Int[Tensor, "task token"]) -> Int[Tensor, "task longer"]:
        """The tokens behind what a prompt begins with."""
        return torch.cat([self.begin.expand(len(tokens), -1), tokens], 1)


def aligned(tokens: Int[Tensor, "row token"]) -> Int[Tensor, "row shorter"]:
    """The tokens of each row in their order, at its end."""
    exists = tokens != PAD
    return tokens.gather(1, exists.int().argsort(dim=1, stable=True))[:, tokens.shape[1] - int(exists.sum(1).max()) :]


def check_room(model: nn.Module, tokens: int, what: str) -> None:
    """Checks that there are no more tokens than every layer sees.

    Raises:
        ValueError: It is.
    """
    known = (getattr(model.config, name, None) for name in ("sliding_window", "max_position_embeddings"))
    room = min((number for number in known if number is not None), default=tokens)
    if tokens > room:
        raise ValueError(
            f"{what} has {tokens} tokens, and the model sees {room}; show fewer examples, or shorter ones."
        )


def read(
    model: nn.Module, tokens: Int[Tensor, "row token"], memory: dict[str, Tensor], last: int = 1
) -> tuple[Float[Tensor, "row last vocabulary"], dict[str, Tensor]]:
    """Logits behind the last tokens (0: behind all), and what is remembered after them."""
    try:
        from transformers import DynamicCache
    except ImportError:
        raise ImportError("language models need their package: pip install 'quickstudy[language-models]'.") from None
    exists, cache = torch.cat([memory["exists"], tokens != PAD], 1), DynamicCache()
    for i in range(len(memory) // 2):
        cache.update(memory[f"key.{i}"], memory[f"value.{i}"], i)
    out = model(
        input_ids=tokens.clamp(min=0),
        attention_mask=exists.long(),
        position_ids=(exists.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=last,
    )
    kept: dict[str, Tensor] = {"exists": exists}
    for i, layer in enumerate(cache.layers):
        kept |= {f"key.{i}": layer.keys, f"value.{i}": layer.values}  # pyright: ignore
    return out.logits.float(), kept
