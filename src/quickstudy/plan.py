"""From what the command line was asked for to tasks: meta-training, meta-validation and meta-test."""

from pathlib import Path
from typing import NamedTuple

from quickstudy.catalogue import Setting
from quickstudy.data.digits import digits
from quickstudy.data.labelled import LabelledData
from quickstudy.data.sources import splits
from quickstudy.tasks import FewShot, Tasks


class Plan(NamedTuple):
    """The tasks of a run, and what its learners are built for."""

    setting: Setting
    tasks: FewShot
    validation: FewShot
    unseen: LabelledData


def plan(
    data: str,
    data_dir: Path | None,
    *,
    encoder: str,
    image_size: int | None,
    ways: int,
    shots: int,
    queries: int,
    within_groups: bool,
) -> Plan:
    """The tasks of a source of data; errors are those of `splits` and `FewShot`."""
    train, val, test = splits(data, data_dir, size=image_size)
    channels, size = train.x.shape[1:3]
    tasks, validation = (FewShot(part, ways, shots, queries, within_groups=within_groups) for part in (train, val))
    return Plan(Setting(encoder, channels, size, ways, shots, len(train.classes)), tasks, validation, test)


def tests(data: str, test: LabelledData, ways: int, shots: int, within_groups: bool) -> dict[str, Tasks]:
    """Test tasks by name."""
    return {
        name: FewShot(part, ways, shots, most_queries(part, shots), within_groups=within)
        for name, part, within in _parts(data, test, within_groups)
    }


def most_queries(data: LabelledData, shots: int) -> int:
    """Queries of each class: the 15 that papers take, or as many as the smallest class leaves."""
    return max(1, min(15, int(data.counts.min()) - shots))


def tests_by_shots(data: str, test: LabelledData, ways: int, within_groups: bool) -> dict[str, dict[int, Tasks]]:
    """Test tasks of 1 to 10 shots with 5 queries, as far as the classes allow, by name and shots."""
    return {
        name: {
            shots: FewShot(part, ways, shots, 5, within_groups=within)
            for shots in (1, 2, 5, 10)
            if shots + 5 <= int(part.counts.min())
        }
        for name, part, within in _parts(data, test, within_groups)
    }


def _parts(data: str, test: LabelledData, within_groups: bool) -> list[tuple[str, LabelledData, bool]]:
    """What to test on, by name, and whether within groups: those who learned glyphs see real digits too."""
    if data != "glyphs":
        return [("unseen classes", test, within_groups)]
    return [("unseen characters", test, within_groups), ("real digits", digits(), False)]
