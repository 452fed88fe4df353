"""Distributions of tasks: what a learner learns to learn."""

from typing import Protocol, runtime_checkable

import torch

from quickstudy.contract import Episodes
from quickstudy.tasks.assay_tasks import AssayTasks as AssayTasks
from quickstudy.tasks.augmented import Augmented as Augmented
from quickstudy.tasks.augmented import ByLibrary as ByLibrary
from quickstudy.tasks.augmented import crop as crop
from quickstudy.tasks.augmented import flip as flip
from quickstudy.tasks.augmented import mixup as mixup
from quickstudy.tasks.augmented import rotate as rotate
from quickstudy.tasks.bandits import Bandits as Bandits
from quickstudy.tasks.body_transitions import BodyTransitions as BodyTransitions
from quickstudy.tasks.few_shot import FewShot as FewShot
from quickstudy.tasks.gaussian_process import GPCurves as GPCurves
from quickstudy.tasks.imitation import OneShotImitation as OneShotImitation
from quickstudy.tasks.navigation import Navigation2D as Navigation2D
from quickstudy.tasks.sinusoid import Sinusoids as Sinusoids
from quickstudy.tasks.table_columns import TableColumns as TableColumns
from quickstudy.tasks.table_rows import TableRows as TableRows
from quickstudy.tasks.user_ratings import UserRatings as UserRatings


@runtime_checkable
class Tasks(Protocol):
    """A distribution of tasks: anything that draws a batch of them from a random generator.

    `train` draws a batch in a thread while it learns from the one before, but for tasks with an attribute `early` that
    is false: those that draw random numbers from elsewhere, too.
    """

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        ...
