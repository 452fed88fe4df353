"""Robots whose bodies are changed, simulated by Gymnasium: a joint that does not answer, or another mass."""

import os
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Part = Literal["train", "validation", "test"]
Kind = Literal["joint", "mass"]
TRAJECTORIES = 3
"""Of each body."""
MASSES: dict[Part, tuple[tuple[float, float], ...]] = {
    "train": ((0.7, 1.5),),
    "validation": ((0.6, 0.7), (1.5, 1.7)),
    "test": ((0.4, 0.6), (1.7, 2.5)),
}
"""Between which factors all masses of a body are scaled; the parts do not overlap."""


class Robot(NamedTuple):
    """A robot that is simulated.

    Args:
        options: Of its environment.
        joints: Those that may be crippled, by the part that its body is in; no joint is in two parts.
    """

    options: dict[str, Any]
    joints: dict[Part, tuple[str, ...]]


ROBOTS = {
    "HalfCheetah-v5": Robot(
        {}, {"train": ("bthigh", "bfoot", "fshin"), "validation": ("ffoot",), "test": ("bshin", "fthigh")}
    ),
    "Ant-v5": Robot(
        {"include_cfrc_ext_in_observation": False, "terminate_when_unhealthy": False},
        {
            "train": ("hip_1", "ankle_1", "hip_2", "ankle_2"),
            "validation": ("hip_3", "ankle_3"),
            "test": ("hip_4", "ankle_4"),
        },
    ),
}


class Body(NamedTuple):
    """What was changed.

    Args:
        part: Where it belongs.
        kind: What is new about it if it is not of the training part.
        joint: Whose motor has no force; empty if all have.
        mass: The factor of all masses.
    """

    part: Part
    kind: Kind
    joint: str
    mass: float


def simulated(robot: str, counts: dict[Part, int], length: int, seed: int) -> tuple[Tensor, dict]:
    """State, action and next state of every transition of every body, and what the bodies are."""
    bodies, found = [], []
    for part, count in counts.items():
        for number in range(count):
            draw = np.random.default_rng([seed, len(bodies)])
            env = environment(robot)
            bodies.append(drawn(robot, part, number, draw))
            change(env, bodies[-1])
            found.append(np.stack([trajectory(env, draw, length) for _ in range(TRAJECTORIES)]))
    states = (found[0].shape[-1] - env.action_space.shape[0]) // 2
    return torch.from_numpy(np.stack(found)), {"bodies": bodies, "states": states}


def environment(robot: str) -> Any:
    """The robot's environment, without limits of time.

    Raises:
        ImportError: Gymnasium or MuJoCo is not installed.
    """
    os.environ.setdefault("MUJOCO_GL", "disable")  # nothing is drawn
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages, about themselves
            import gymnasium

            return gymnasium.make(robot, **ROBOTS[robot].options).unwrapped
    except Exception as error:
        if isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled":
            needed = "simulating a robot needs gymnasium and mujoco"
            raise ImportError(f"{needed}: pip install 'quickstudy[robotics]'") from error
        raise


def change(env: Any, body: Body) -> None:
    """Gives a robot that has its own body another one."""
    import mujoco

    model = env.model
    model.body_mass[:] *= body.mass
    model.body_inertia[:] *= body.mass
    names = [model.joint(joint).name for joint, _ in model.actuator_trnid]
    model.actuator_gear[[name == body.joint for name in names]] = 0
    mujoco.mj_setConst(model, env.data)  # pyright: ignore[reportAttributeAccessIssue]


def drawn(robot: str, part: Part, number: int, draw: np.random.Generator) -> Body:
    """A random body of a part; those of validation and test are by turns of one kind and of the other."""
    kind: Kind = "joint" if part == "train" or number % 2 == 0 else "mass"
    bounds = MASSES[part if kind == "mass" else "train"]
    low, high = bounds[number // 2 % len(bounds)]
    joints = ROBOTS[robot].joints[part]
    joints = ("", *joints) if part == "train" else joints
    joint = joints[draw.integers(len(joints))] if kind == "joint" else ""
    return Body(part, kind, joint, float(np.exp(draw.uniform(np.log(low), np.log(high)))))


def trajectory(env: Any, draw: np.random.Generator, length: int) -> Float[np.ndarray, "step d"]:
    """State, action and next state of each step under smooth random actions."""
    motors = env.action_space.shape[0]
    size, noise = draw.uniform(0.2, 1.0, motors), np.zeros(motors)
    hertz, phase = draw.uniform(0.5, 3.0, motors), draw.uniform(0, 2 * np.pi, motors)
    rows, state = [], env.reset(seed=int(draw.integers(2**31)))[0]
    for step in range(length):
        noise = 0.9 * noise + 0.2 * draw.normal(size=motors)
        action = np.clip(size * np.sin(2 * np.pi * hertz * step * env.dt + phase) + noise, -1, 1)
        after = env.step(action)[0]
        rows.append(np.concatenate([state, action, after]))
        state = after
    return np.stack(rows)
