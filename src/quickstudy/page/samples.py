"""Built-in samples to begin with: real handwritten digits, and sentences that say what somebody wants.

They are demonstrations, chosen so that the learners which ship show all that an answer may be: sure, torn between two
classes, and none of these. Sets name two classes where a task's own examples lie as close, so some examples do.
"""

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from sklearn.datasets import load_sample_image

from quickstudy.data.digits import digits
from quickstudy.page.models import Sample, Shown

DIGITS = (0, 2, 6)
ASKED = ((0, 4), (2, 6), (2, 14))
"""Digits and which of their drawings; the last lies between two."""
STRANGER = "flower.jpg"
SENTENCES = {
    "book a table": (
        "A table for two tonight at eight, please",
        "Can I reserve seats for dinner on Friday?",
        "We would like to come for lunch tomorrow, four people",
        "May we sit outside if it stays dry?",
    ),
    "weather": (
        "Will it rain this afternoon?",
        "How cold does it get tonight?",
        "Do I need an umbrella tomorrow morning?",
        "Is it warm enough for dinner on the terrace?",
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
    "Could we have dinner outside if it is sunny?",
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

    shown = [Shown(label=f"digit {digit}", content=png(x[y == digit][i])) for digit in DIGITS for i in range(3)]
    photograph = Image.fromarray(load_sample_image(STRANGER)).resize((96, 64))
    queries = [*(png(x[y == digit][i]) for digit, i in ASKED), png(np.asarray(photograph))]
    return Sample(title="Handwritten digits", examples=shown, queries=queries)


def png(pixels: UInt8[np.ndarray, "height width *channel"]) -> str:
    """A PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
