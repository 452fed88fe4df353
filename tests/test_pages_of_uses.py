"""The pages of the real uses hold what their commands write from the results that are kept."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = {
    "drugs": ["drugs_page"],
    "language": ["language_page"],
    "medicine": ["medicine_page"],
    "recommendation": ["recommendation_page"],
    "robots": ["robots_imitation_page", "robots_bodies_page", "robots_reinforcement_page"],
}


@pytest.mark.parametrize("use", PARTS)
def test_a_page_holds_what_its_command_writes(use, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    kept, page = ROOT / "docs" / "uses" / f"{use}.md", tmp_path / "page.md"
    page.write_text(kept.read_text())
    for name in PARTS[use]:
        module = import_module(name)
        pictures = [] if use == "medicine" else [tmp_path if use == "drugs" else tmp_path / f"{name}.png"]
        size = ["100k"] if use == "recommendation" else []
        module.write(ROOT / "benchmarks" / "results", *size, page, *pictures)
    assert page.read_text() == kept.read_text()
