"""Memory-augmented neural networks (Santoro et al., 2016). https://arxiv.org/abs/1605.06065"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import normalize, one_hot

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.tensors import number_of_ways, out_features, per_task

State = dict[str, Tensor]
PerHead = Float[Tensor, "task heads _"]


class MANN(MetaLearner):
    """Write the support set into an external memory, item by item, and look a query up in it.

    Across tasks, a controller learns what to write and what to look for; a task is remembered by the controller's
    state and by slots, which are read by their content and written where they were used least. A label comes with the
    item after its own, so the last one comes with the query, which is the sequence's next item. It deviates from the
    paper: the loss is on queries alone, each of which goes on from the same memory and sees no other; an encoder embeds
    the inputs; of several heads, each writes to a slot of its own among the least used.

    Args:
        encoder: From inputs to embeddings.
        ways: Classes of a task, fixed.
        slots: Rows of the memory.
        width: Their length.
        heads: How many keys are written, and how many rows read, at a step; no more than there are slots.
        hidden: Width of the controller.
        decay: Of the usage of a slot, per step (gamma; 0.99 in the paper).
        strength: What cosines are multiplied by where slots are read; with the paper's 1, the mean of many slots.
        feed_forward: A controller of one hidden layer, with no state of its own, in place of the LSTM.

    Raises:
        ValueError: More heads than slots.
    """

    embedding, sequential = "encoder", True

    def __init__(
        self,
        encoder: nn.Module,
        *,
        ways: int = 5,
        slots: int = 128,
        width: int = 40,
        heads: int = 4,
        hidden: int = 200,
        decay: float = 0.99,
        strength: float = 1.0,
        feed_forward: bool = False,
    ):
        super().__init__()
        if heads > slots:
            raise ValueError(f"each head writes to a slot of its own; take at most {slots} heads, or more slots.")
        self.encoder, self.ways, self.heads, self.decay, self.strength = encoder, ways, heads, decay, strength
        controller = {"label": [ways], "hidden": [hidden], "cell": [hidden]}
        self.empty = controller | {"slots": [slots, width], "read": [heads, slots], "usage": [slots]}
        inputs = out_features(encoder) + ways + heads * width
        plain = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh())
        self.controller = plain if feed_forward else nn.LSTMCell(inputs, hidden)
        self.keys, self.gate = nn.Linear(hidden, heads * width), nn.Linear(hidden, heads)
        self.head = nn.Linear(hidden + heads * width, ways)

    def adapt(self, support: Examples) -> State:
        if number_of_ways(support) != self.ways:
            raise ValueError(f"this MANN was built for {self.ways} ways; the tasks have {support.ways}.")
        z = per_task(self.encoder, support.x)  # [T, S, D]
        state = {name: z.new_zeros(len(z), *shape) for name, shape in self.empty.items()}
        for item in range(z.shape[1]):
            after = self.step(state, z[:, item]) | {"label": one_hot(support.y[:, item], self.ways).to(z.dtype)}
            if support.mask is not None:  # padding leaves no trace
                exists = support.mask[:, item]
                after = {k: after[k].where(exists.view(-1, *[1] * (after[k].ndim - 1)), state[k]) for k in after}
            state = after
        return state

    def predict(self, memory: State, x: Shaped[Tensor, "task query *x"]) -> Categorical:
        z = per_task(self.encoder, x)  # [T, Q, D]
        each = {name: tensor.repeat_interleave(z.shape[1], 0) for name, tensor in memory.items()}  # [T * Q, ...]
        after = self.step(each, z.flatten(0, 1))
        return categorical(self.head(torch.cat([after["hidden"], recall(after)], -1)).unflatten(0, z.shape[:2]))

    def step(self, state: State, z: Float[Tensor, "task d"]) -> State:
        """The state after one more item, which comes with the label of the item before it."""
        seen, cell = torch.cat([z, state["label"], recall(state)], -1), state["cell"]
        if isinstance(self.controller, nn.LSTMCell):
            hidden, cell = self.controller(seen, (state["hidden"], cell))
        else:
            hidden = self.controller(seen)
        keys = self.keys(hidden).unflatten(-1, (self.heads, -1)).tanh()  # [T, heads, width]
        gates = self.gate(hidden).sigmoid()[..., None]  # [T, heads, 1]
        return state | {"hidden": hidden, "cell": cell} | access(state, keys, gates, self.decay, self.strength)


def access(state: State, keys: PerHead, gates: PerHead, decay: float, strength: float = 1.0) -> State:
    """The memory after each head has written its key, to where it read before or to a slot used least, and read."""
    order = state["usage"].argsort(stable=True)[:, : keys.shape[1]]
    least = one_hot(order, state["usage"].shape[1]).to(keys.dtype)  # w^lu: [T, heads, slots]
    write = gates * state["read"] + (1 - gates) * least  # w^w
    slots = state["slots"] * (1 - least.sum(1)[..., None]) + write.mT @ keys  # M
    read = (strength * normalize(keys, dim=-1) @ normalize(slots, dim=-1).mT).softmax(-1)  # w^r
    return {"slots": slots, "read": read, "usage": decay * state["usage"] + (read + write).sum(1)}  # w^u


def recall(state: State) -> Float[Tensor, "task d"]:
    """What the heads have read."""
    return (state["read"] @ state["slots"]).flatten(1)  # r
