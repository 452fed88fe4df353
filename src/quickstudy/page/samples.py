"""Built-in samples to begin with: real handwritten digits, and sentences that say what somebody wants."""

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from quickstudy.data.digits import digits
from quickstudy.page.models import Sample, Shown

DIGITS, STRANGER = (3, 6, 7), 5
SENTENCES = {
    "book a table": (
        "A table for two tonight at eight, please",
        "Can I reserve seats for dinner on Friday?",
        "We would like to come for lunch tomorrow, four people",
    ),
    "weather": (
        "Will it rain this afternoon?",
        "How cold does it get tonight?",
        "Do I need an umbrella tomorrow morning?",
    ),
    "music": (
        "Play something calm",
        "Put on my favourite album",
        "Skip this song and turn it up",
    ),
}
QUESTIONS = (
    "Is there snow in the mountains at the weekend?",
    "Do you have room for six on Saturday evening?",
    "I want to hear some jazz",
    "How do I reset my password?",
)


def sample(kind: str) -> Sample:
    """A small task, one of whose queries is of none of its classes.

    Args:
        kind: Of `Inputs`: "pictures" or "texts".
    """
    if kind == "texts":
        shown = [Shown(label=label, content=text) for label, texts in SENTENCES.items() for text in texts]
        return Sample(title="What does somebody want?", examples=shown, queries=list(QUESTIONS))
    data = digits(size=56)
    x, y = np.asarray(data.x)[:, 0], np.asarray(data.y)

    def drawings(digit: int, first: int, last: int) -> list[str]:
        return [png(pixels) for pixels in x[y == digit][first:last]]

    shown = [Shown(label=f"digit {digit}", content=one) for digit in DIGITS for one in drawings(digit, 0, 3)]
    queries = [one for digit in (*DIGITS, STRANGER) for one in drawings(digit, 3, 4)]
    return Sample(title="Handwritten digits", examples=shown, queries=queries)


def png(pixels: UInt8[np.ndarray, "height width"]) -> str:
    """A PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
