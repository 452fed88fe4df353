"""A language model that learns from its prompt (Brown et al., 2020), calibrated by what it says without content.

https://arxiv.org/abs/2005.14165; https://arxiv.org/abs/2102.09690 (Zhao et al., 2021)
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Categorical

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.encoders.texts import PAD
from quickstudy.methods.in_context.prompts import Template, aligned, check_room, read
from quickstudy.tensors import number_of_ways


class LanguageModelInContext(MetaLearner):
    """Write the support set into a prompt, and ask which label comes next behind a query.

    What is known across tasks is the language model, which stays as it is unless it is trained. A task is remembered by
    the keys and values of its prompt in every layer, and by the log-probabilities of the labels behind texts without
    content, which are subtracted from those behind a query (Zhao et al., section 4, whose formula takes the softmax of
    quotients of probabilities: the largest is the same).

    Args:
        model: A causal language model of `transformers`, all of whose layers attend.
        tokenizer: Its tokenizer.
        labels: What classes are called: words that say nothing of them, or, where all tasks have the same classes in
            the same order, their names.
        before: Written before a text.
        between: Written between a text and its label.
        after: Written behind a label.
        content_free: Texts without content.
    """

    sequential = True

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        labels: Sequence[str] = (" red", " dog", " seven", " winter", " bread"),
        before: str = "Text:",
        between: str = "\nLabel:",
        after: str = "\n\n",
        content_free: Sequence[str] = (" N/A", " ", " [MASK]"),
    ):
        super().__init__()
        self.model, self.ways = model, len(labels)
        self.template = Template(tokenizer, labels, before, between, after, content_free)

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "text length"]:
        """The token ids of texts, with -1 behind shorter ones: the inputs of this learner."""
        return self.template.tokens(texts)

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        ways = number_of_ways(support)
        if ways > self.ways:
            raise ValueError(f"there are labels for {self.ways} classes; the tasks have {ways}. Pass labels for more.")
        shots = self.template.written(support.x, support.y).masked_fill(~valid(support)[..., None], PAD)
        prompt = aligned(self.template.begun(shots.flatten(1)))  # [T, P]
        check_room(self.model, prompt.shape[1], "the prompt")
        memory = read(self.model, prompt, {"exists": prompt[:, :0] != PAD})[1]
        free = self._likelihoods(memory, self.template.free.expand(len(shots), -1, -1), ways)
        return memory | {"content_free": free.logsumexp(1).log_softmax(-1)}  # the logarithm of their mean

    def predict(self, memory: dict[str, Tensor], x: Int[Tensor, "task query length"]) -> Categorical:
        free = memory["content_free"]
        layers = {name: tensor for name, tensor in memory.items() if name != "content_free"}
        return categorical(self._likelihoods(layers, x, free.shape[1]) - free[:, None])

    def _likelihoods(
        self, memory: dict[str, Tensor], x: Int[Tensor, "task text length"], ways: int
    ) -> Float[Tensor, "task text way"]:
        """The log-probability of each label behind each text, that of all labels being 1."""
        labels, count = self.template.labels[:ways], x.shape[0] * x.shape[1]
        asked = aligned(self.template.written(x).flatten(0, 1))
        longest = memory["exists"].shape[1] + asked.shape[1] + labels.shape[1] - 1
        check_room(self.model, longest, "the prompt with a query and its label")
        first, seen = read(
            self.model, asked, {name: part.repeat_interleave(x.shape[1], 0) for name, part in memory.items()}
        )
        found = first[:, -1:].log_softmax(-1)[:, 0, labels[:, 0]]  # [T * Q, W]
        if labels.shape[1] > 1:  # longer labels are read, too
            seen = {name: part.repeat_interleave(ways, 0) for name, part in seen.items()}
            rest = read(self.model, labels[:, :-1].repeat(count, 1), seen, last=0)[0].log_softmax(-1)
            wanted = labels[:, 1:].repeat(count, 1)
            told = rest.gather(-1, wanted.clamp(min=0)[..., None])[..., 0].where(wanted != PAD, 0)
            found = found + told.sum(-1).view(count, ways)
        return found.log_softmax(-1).unflatten(0, x.shape[:2])
