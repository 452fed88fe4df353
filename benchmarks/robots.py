"""Robots: one-shot imitation, a changed body, and reinforcement learning that adapts; each part a file of its own.

    python benchmarks/robots.py run                      everything; what has a result is passed over
    python benchmarks/robots.py run imitation|bodies|reinforcement [METHOD...]
    python benchmarks/robots.py page                     writes tables and pictures into docs/uses/robots.md

Needs `pip install 'quickstudy[robotics]'`. The options of a part: `python benchmarks/robots.py run PART --help`.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PARTS = ("imitation", "bodies", "reinforcement")


def main(words: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if words is None else words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("part", choices=PARTS, nargs="?")
    commands.add_parser("page").add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(words[:2] if words[:1] == ["run"] else words)
    for part in PARTS:
        if asked.command == "page":
            import_module(f"robots_{part}_page").write(asked.out)
        elif asked.part in (part, None):
            import_module(f"robots_{part}").main(words[2:])


if __name__ == "__main__":
    main()
