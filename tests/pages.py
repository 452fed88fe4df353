"""A small page to test: its learner, its clients, and pictures to show."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch import nn

import quickstudy as qs
from quickstudy.inputs import Fixed, pixels
from quickstudy.page.app import create_app
from quickstudy.page.safe import Limits
from quickstudy.ready import Ready


class Lighter(nn.Module):
    """Pixels on a scale at which a small difference leaves some doubt."""

    def forward(self, x):
        return x.flatten(1) / 14


def lengths(texts: Sequence[str]) -> torch.Tensor:
    return torch.tensor([[float(len(text)), float(text.count("e"))] for text in texts])


PICTURES = Ready(qs.PrototypicalNetwork(Lighter()).eval(), pixels(1, 28))
TEXTS = Ready(qs.PrototypicalNetwork(nn.Identity()).eval(), Fixed("texts", lambda: lengths))


def client(ready: Ready = PICTURES, *, token: str | None = None, limits: Limits | None = None) -> TestClient:
    return TestClient(create_app(ready, token=token, limits=limits), base_url="http://127.0.0.1")


def begin(page: TestClient) -> dict[str, str]:
    """The header of a new session."""
    return {"X-Session": page.post("/api/sessions").json()["session"]}


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def grey(level: int, seed: int = 0) -> str:
    """A picture of one brightness, about."""
    noise = np.random.default_rng(seed).integers(-8, 9, (12, 12))
    return encoded(Image.fromarray(np.clip(level + noise, 0, 255).astype(np.uint8)))


def shown(label: str, *contents: str) -> list[dict[str, str]]:
    return [{"label": label, "content": content} for content in contents]


DARK, LIGHT = shown("dark", grey(20, 1), grey(30, 2)), shown("light", grey(220, 3), grey(235, 4))
