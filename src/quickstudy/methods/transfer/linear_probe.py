"""Transfer learning by logistic regression on frozen features (Tian, Wang, Krishnan, Tenenbaum & Isola, 2020).

https://arxiv.org/abs/2003.11539
"""

import torch
from jaxtyping import Float, Shaped
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import normalize

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, valid
from quickstudy.methods.transfer.pretraining import supervised_loss
from quickstudy.tensors import ABSENT, full_precision, number_of_ways, out_features, per_task


class LinearProbe(MetaLearner):
    """Pre-train an encoder on the training classes, then fit a linear classifier to each support set.

    Nothing is learned about tasks: the encoder learns to tell the training classes apart. A task is remembered by
    the weights of its logistic regression, fitted by scikit-learn on the frozen embeddings. With these scaled to
    length 1 it is the paper's method, without its distillation.

    Args:
        encoder: From inputs to embeddings.
        classes: The number of training classes.
        C: Inverse strength of the L2 penalty.
        normalize: Scale every embedding to length 1.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        classes: int,
        C: float = 1.0,  # noqa: N803 (scikit-learn's name)
        normalize: bool = False,
    ):
        super().__init__()
        self.encoder, self.C, self.normalize = encoder, C, normalize
        self.head = nn.Linear(out_features(encoder), classes)

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        with torch.no_grad(), full_precision(self._features(support.x)) as features:
            z = features.cpu()  # [T, S, D]
        ways = number_of_ways(support)
        weight = z.new_zeros(len(z), ways, z.shape[-1])
        bias = z.new_full((len(z), ways), -ABSENT)  # of a class without examples
        for t, exists in enumerate(valid(support).cpu()):
            shown, y = z[t][exists].numpy(), support.y[t].cpu()[exists].numpy()
            if (y == y[0]).all():  # one class alone, which needs no weights
                bias[t, y[0]] = 0
                continue
            model = LogisticRegression(C=self.C, max_iter=1000).fit(shown, y)
            found, coef, intercept = torch.from_numpy(model.classes_), model.coef_, model.intercept_
            if len(found) == 2:  # scikit-learn gives the second class's weights alone
                bias[t, found] = 0
                found = found[1:]
            weight[t, found] = torch.as_tensor(coef, dtype=z.dtype)
            bias[t, found] = torch.as_tensor(intercept, dtype=z.dtype)
        return {"weight": weight.to(support.x.device), "bias": bias.to(support.x.device)}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        with full_precision(self._features(x)) as z:
            return categorical(z @ memory["weight"].mT + memory["bias"][:, None])  # [T, Q, W]

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        return supervised_loss(self.encoder, self.head, episodes)

    def _features(self, x: Shaped[Tensor, "task example *x"]) -> Float[Tensor, "task example d"]:
        z = per_task(self.encoder, x)
        return normalize(z, dim=-1) if self.normalize else z
