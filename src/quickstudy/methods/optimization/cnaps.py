"""Conditional neural adaptive processes (Requeima et al., 2019). https://arxiv.org/abs/1906.07697"""

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.inner_loop import Weights, apply_weights
from quickstudy.tensors import (
    below_shown,
    class_means,
    forbid_running_statistics,
    norm_parameters,
    only_shown,
    out_features,
    per_task,
    shown_in,
    support_mean,
)


class CNAPs(MetaLearner):
    """Learn to predict the parameters of a task's classifier from its support set, with no inner loop.

    A task is remembered by a scale and a shift of each channel that its encoder normalises (FiLM), predicted from the
    mean encoding of the support set, and by a weight and a bias for each class, predicted from the mean of the
    class's modulated embeddings. The number of ways is free.

    It deviates from the paper in that one network predicts the modulation of all layers at once, from the support
    set alone (the paper's variant without the autoregressive part), in that nothing holds the modulation small, and
    in that the encoder is trained with it.

    Args:
        encoder: From inputs to embeddings, with normalisation layers that scale and shift.
        set_encoder: From inputs to what is averaged over the support set; another network.
        hidden: Width of the networks that predict.
        frozen: Leave the encoder as it is, pre-trained on the training classes, with its running statistics; this is
            what the paper does.

    Raises:
        ValueError: An encoder without layers to modulate; or one that keeps running statistics, and is not frozen.
    """

    def __init__(self, encoder: nn.Module, set_encoder: nn.Module, *, hidden: int = 128, frozen: bool = False):
        super().__init__()
        self.norms = norm_parameters(encoder)
        if not self.norms:
            raise ValueError(
                f"CNAPs modulates normalisation layers with weights and biases; {type(encoder).__name__} has none. "
                f"Use e.g. Conv4(norm='group')."
            )
        if frozen:
            encoder.requires_grad_(False).eval()
        else:
            forbid_running_statistics(encoder, "CNAPs")
        self.encoder, self.set_encoder, self.frozen = encoder, set_encoder, frozen
        d, channels = out_features(encoder), sum(encoder.get_parameter(scale).numel() for scale, _ in self.norms)
        self.film = predictor(out_features(set_encoder), hidden, 2 * channels)
        self.weight, self.bias = predictor(d, hidden, d), predictor(d, hidden, 1)
        for network in (self.film, self.weight, self.bias):  # begin with the encoder as it is, and class means
            nn.init.normal_(network[-1].weight, std=1e-3)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(network[-1].bias)  # pyright: ignore[reportArgumentType]

    def train(self, mode: bool = True) -> "CNAPs":
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        film = self.film(support_mean(per_task(self.set_encoder, support.x), support)[:, 0])  # [T, 2 C]
        means = class_means(apply_weights(self.encoder, self._modulated(film), support.x), support)  # [T, W, D]
        weight = only_shown(means + self.weight(means), support)
        return {"film": film, "weight": weight, "bias": self.bias(means)[..., 0]}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        z = apply_weights(self.encoder, self._modulated(memory["film"]), x)  # [T, Q, D]
        weight, shown = shown_in(memory["weight"])
        return categorical(below_shown(z @ weight.mT + memory["bias"][:, None], shown))  # [T, Q, W]

    def _modulated(self, film: Float[Tensor, "task channel"]) -> Weights:
        """The encoder's scales and shifts for each task: those of (1 + gamma) y + beta, where y is a layer's output."""
        own = self.encoder.get_parameter
        sizes = [own(scale).numel() for scale, _ in self.norms]
        gammas, betas = (half.split(sizes, 1) for half in film.chunk(2, 1))
        weights: dict[str, Tensor] = {}
        for (scale, shift), gamma, beta in zip(self.norms, gammas, betas, strict=True):
            w, b = own(scale), own(shift)
            weights[scale] = (1 + gamma.reshape(-1, *w.shape)) * w
            weights[shift] = (1 + gamma.reshape(-1, *b.shape)) * b + beta.reshape(-1, *b.shape)
        return weights


def predictor(d_in: int, hidden: int, d_out: int) -> nn.Sequential:
    """A small network that predicts parameters."""
    return nn.Sequential(
        nn.Linear(d_in, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, d_out)
    )
