"""Meta-World's robot arm (Yu et al., 2019) with its scripted experts. https://arxiv.org/abs/1910.10897"""

import os
import pickle
import warnings
from typing import Any, NamedTuple

import numpy as np

SHOWN = 7
"""Of an observation: the hand's place, how far the gripper is open, the object's place. The goal comes last."""
APART = 0.15
"""The least distance of object and goal in the plane, in metres: nearer, Meta-World would never stop to draw anew."""


class Moment(NamedTuple):
    """An arm in the midst of what it does: all that the simulator needs to go on from here.

    Args:
        observation: All that Meta-World shows, in metres, the goal included.
        success: Meta-World's own verdict on the step that led here.
        physics: The state of the simulated bodies.
        rest: What the environment keeps beside it.
    """

    observation: np.ndarray
    success: bool
    physics: np.ndarray
    rest: dict[str, Any]

    @property
    def seen(self) -> np.ndarray:
        """What a policy is shown."""
        return self.observation[:SHOWN]


class Arm:
    """One simulator of one environment, which goes on from any moment: so it holds as many robots as are wanted.

    Args:
        environment: A name of Meta-World's where both an object and a goal are placed at random: "reach-v3",
            "push-v3", "pick-place-v3" and others.

    Raises:
        ImportError: Meta-World is not installed.
        ValueError: No such environment.
    """

    def __init__(self, environment: str = "reach-v3"):
        os.environ.setdefault("MUJOCO_GL", "disable")  # nothing is drawn, so that no display is needed
        try:
            import mujoco
            from metaworld.env_dict import ALL_V3_ENVIRONMENTS as KNOWN
            from metaworld.policies import ENV_POLICY_MAP
            from metaworld.types import Task
        except ImportError as error:
            raise ImportError(f"robots need Meta-World ({error}): pip install 'quickstudy[robotics]'.") from None
        if environment not in KNOWN:
            raise ValueError(f"Meta-World has no environment {environment!r}; it has {', '.join(KNOWN)}.")
        self.environment, self.mujoco, self.task = environment, mujoco, Task
        self.simulator, self.script = KNOWN[environment](), ENV_POLICY_MAP[environment]()
        space, goals = self.simulator._random_reset_space, self.simulator.goal_space
        if space is None or goals is None or space.low.size != 6 or not np.allclose(space.low[3:], goals.low):
            raise ValueError(
                f"{environment} does not place both an object and a goal at random, as reach-v3 and push-v3 do."
            )
        self.hand = np.array(self.simulator.hand_init_pos)
        self.objects, self.goals = (space.low[:3], space.high[:3]), (space.low[3:], space.high[3:])
        self.whole = mujoco.mjtState.mjSTATE_INTEGRATION  # pyright: ignore[reportAttributeAccessIssue]

    def begin(self, goal: np.ndarray, hand: np.ndarray, thing: np.ndarray) -> Moment:
        """The first moment with a goal, the hand and the object at these places, in metres.

        Raises:
            ValueError: The object lies at the goal.
        """
        goal, hand, thing = (np.asarray(place, dtype=np.float64) for place in (goal, hand, thing))
        if np.linalg.norm(goal[:2] - thing[:2]) < APART:
            raise ValueError(f"the object at {thing} is less than {APART} m from the goal at {goal}; move one of them.")
        self.simulator.hand_init_pos = hand
        told = {
            "rand_vec": np.concatenate([thing, goal]),
            "env_cls": type(self.simulator),
            "partially_observable": False,
        }
        self.simulator.set_task(self.task(self.environment, pickle.dumps(told)))
        return self._moment(self.simulator.reset()[0], False)

    def step(self, moment: Moment, action: np.ndarray) -> Moment:
        """What comes of an action: the hand's motion and the gripper's effort, each from -1 to 1."""
        vars(self.simulator).update(moment.rest)
        self.mujoco.mj_setState(self.simulator.model, self.simulator.data, moment.physics, self.whole)
        observation, _, _, _, info = self.simulator.step(np.clip(action, -1, 1).astype(np.float32))
        return self._moment(observation, bool(info["success"]))

    def expert(self, moment: Moment) -> np.ndarray:
        """What Meta-World's scripted policy would do, which is told the goal; of each number what can be done of it."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Constant.s. may be too high")  # what is too high is cut off here
            return self.script.get_action(moment.observation).clip(-1, 1)

    def _moment(self, observation: np.ndarray, success: bool) -> Moment:
        model, data = self.simulator.model, self.simulator.data
        physics = np.empty(self.mujoco.mj_stateSize(model, self.whole))
        self.mujoco.mj_getState(model, data, physics, self.whole)
        rest = dict(vars(self.simulator))
        return Moment(observation.copy(), success, physics, rest)
