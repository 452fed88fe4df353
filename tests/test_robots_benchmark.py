"""The command of the robots' benchmark: all of its parts, or one with its options."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_it_runs_all_parts_or_one_with_its_options(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import robots
    import robots_bodies
    import robots_imitation
    import robots_reinforcement

    asked = []
    for part in (robots_imitation, robots_bodies, robots_reinforcement):
        monkeypatch.setattr(part, "main", lambda words, part=part: asked.append((part.__name__, words)))
    robots.main(["run"])
    assert asked == [(f"robots_{part}", []) for part in ("imitation", "bodies", "reinforcement")]
    asked.clear()
    robots.main(["run", "bodies", "anp", "--steps", "2"])
    assert asked == [("robots_bodies", ["anp", "--steps", "2"])]
    with pytest.raises(SystemExit):
        robots.main(["run", "legs"])
    assert "invalid choice: 'legs'" in capsys.readouterr().err
