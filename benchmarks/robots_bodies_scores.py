"""What is found of a method on changed bodies: errors after one step and after ten, and how sure it was."""

import hashlib
import time
from collections.abc import Iterator

import torch
from jaxtyping import Float
from scipy.stats import norm
from torch import Tensor
from torch.distributions import Distribution

import quickstudy as qs
from quickstudy.data.simulated import Kind
from quickstudy.seeds import seeded

SHOTS = (16, 32, 64)
KINDS: tuple[Kind, ...] = ("joint", "mass")
AHEAD, APART, FAR, SURE = 10, 5, 10.0, float(norm.ppf(0.95))
"""Steps that are predicted; steps between two beginnings; standard deviations that a state stays within; half a 90%
interval, in standard deviations."""
PARTICLES = 100


class Widened(qs.MetaLearner):
    """A learner that tells no spread, with one: for every number its root mean square error on validation bodies."""

    def __init__(self, learner: qs.MetaLearner, episodes: list[qs.Episodes]):
        super().__init__()
        self.learner = learner
        errors = [learner.predict(learner.adapt(e.support), e.query.x).mean - e.query.y for e in episodes]
        self.std = torch.cat(errors).square().mean((0, 1)).sqrt()

    def adapt(self, support: qs.Examples) -> qs.Memory:
        return self.learner.adapt(support)

    def predict(self, memory: qs.Memory, x: Tensor) -> Distribution:
        mean = self.learner.predict(memory, x).mean
        return qs.gaussian(mean, self.std.expand_as(mean))


def parts(episodes: qs.Episodes, tasks: int = 50) -> Iterator[qs.Episodes]:
    return (episodes[start : start + tasks] for start in range(0, len(episodes), tasks))


def mean_square(predicted: Distribution, query: qs.Examples) -> Float[Tensor, " task"]:
    return (predicted.mean - query.y).square().mean((1, 2))


def within(predicted: Distribution, query: qs.Examples) -> Float[Tensor, " task"]:
    return ((predicted.mean - query.y).abs() <= SURE * predicted.stddev).float().mean((1, 2))


def nats(predicted: Distribution, query: qs.Examples) -> Float[Tensor, " task"]:
    return predicted.log_prob(query.y).mean(1) / query.y.shape[-1]


def rolled(
    learner: qs.MetaLearner,
    memory: qs.Memory,
    bodies: qs.Bodies,
    state: Float[Tensor, "task start state"],
    actions: Float[Tensor, "task start step action"],
    sampled: bool = False,
) -> Float[Tensor, "task start step state"]:
    """The states after each action by the learner's own predictions: their means, or drawn from them."""
    found = []
    for action in actions.unbind(2):
        predicted = learner.predict(memory, torch.cat([state, action], -1))
        change = predicted.sample() if sampled else predicted.mean
        state = bodies.after(state, change).nan_to_num(FAR, FAR, -FAR).clamp(-FAR, FAR)
        found.append(state)
    return torch.stack(found, 2)


def windows(x: Float[Tensor, "task query d"]) -> Float[Tensor, "task start step d"]:
    """What begins every five steps, and goes on for eleven: a state, and what came of it."""
    return x.unfold(1, AHEAD + 1, APART).transpose(2, 3)


def ten_steps(
    learner: qs.MetaLearner, memory: qs.Memory, bodies: qs.Bodies, query: qs.Examples
) -> Float[Tensor, " task"]:
    """The mean square error of the state after ten steps, in squared standard deviations of states."""
    seen = windows(query.x)
    truth, actions = seen[..., : bodies.states], seen[:, :, :AHEAD, bodies.states :]
    told = rolled(learner, memory, bodies, truth[:, :, 0], actions)
    return (told[:, :, -1] - truth[:, :, -1]).square().mean((1, 2))


@torch.no_grad()
def tested(learner: qs.MetaLearner, bodies: qs.Bodies, spread: bool, draws: int, seed: int) -> dict:
    """Everything that is told of one method: scores are of a body, over its draws."""
    learner.eval()
    if not spread:
        validation = qs.BodyTransitions(bodies, bodies.of("validation"))
        learner = Widened(learner, list(parts(validation.each(draws, seeded(seed, "residual", 0)))))
    found: dict = {"hash": {}, "tests": {}, "adapt_ms": {}}
    for kind in KINDS:
        for shots in SHOTS:
            tasks = qs.BodyTransitions(bodies, bodies.of("test", kind), shots=shots)
            episodes, name = tasks.each(draws, seeded(seed, f"test {kind}", shots)), f"{kind} {shots}"
            hashed, adapting = hashlib.sha256(), 0.0
            scores: dict[str, list[Tensor]] = {score: [] for score in ("one", "within", "nats", "ten")}
            for batch in parts(episodes):
                for tensor in (batch.support.x, batch.support.y, batch.query.x, batch.query.y):
                    hashed.update(tensor.contiguous().numpy().tobytes())
                start = time.process_time()
                memory = learner.adapt(batch.support)
                adapting += time.process_time() - start
                predicted = learner.predict(memory, batch.query.x)
                for score, metric in (("one", mean_square), ("within", within), ("nats", nats)):
                    scores[score].append(metric(predicted, batch.query))
                scores["ten"].append(ten_steps(learner, memory, bodies, batch.query))
            found["hash"][name] = hashed.hexdigest()
            found["adapt_ms"][name] = round(1000 * adapting / len(episodes), 3)
            found["tests"][name] = {
                score: [round(value, 5) for value in torch.cat(values).view(-1, draws).mean(1).tolist()]
                for score, values in scores.items()
            }
    return found | {"example": example(learner, bodies, seed)}


def example(learner: qs.MetaLearner, bodies: qs.Bodies, seed: int, shots: int = 32) -> dict:
    """Ten steps of a crippled test body in the robot's own units: the truth, and the middle and a 90% band."""
    tasks = qs.BodyTransitions(bodies, bodies.of("test", "joint")[:1], shots=shots)
    one = tasks.each(1, seeded(seed, "example", 0))
    seen = windows(one.query.x)[:, :1]
    truth, actions = seen[..., : bodies.states], seen[:, :, :AHEAD, bodies.states :]
    state, actions = (part.expand(1, PARTICLES, *part.shape[2:]) for part in (truth[:, :, 0], actions))
    torch.manual_seed(seed)
    told = rolled(learner, learner.adapt(one.support), bodies, state, actions, sampled=True)[0]
    mean, std = bodies.mean[: bodies.states], bodies.std[: bodies.states]
    low, middle, high = (told.quantile(q, 0) * std + mean for q in (0.05, 0.5, 0.95))
    rows = {"truth": truth[0, 0] * std + mean, "low": low, "middle": middle, "high": high}
    return {"joint": bodies.bodies[int(tasks.rows[0])].joint} | {
        name: [[round(value, 4) for value in row] for row in values.tolist()] for name, values in rows.items()
    }
