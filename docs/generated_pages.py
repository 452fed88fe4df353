"""A Sphinx extension: pages that are made at each build and never committed, in docs/generated."""

import re
import shutil
from pathlib import Path

from method_pages import methods
from reference_pages import reference
from sphinx.application import Sphinx

HERE = Path(__file__).parent
MADE = HERE / "generated"


def copies() -> dict[str, str]:
    """The texts that lie beside docs/, with links as they are from here."""
    texts = {name: (HERE.parent / f"{name}.md").read_text() for name in ("README", "CONTRIBUTING")}
    inner = {name.lower(): text.replace("](docs/", "](../") for name, text in texts.items()}
    return {name: text.replace("](CONTRIBUTING.md", "](contributing.md") for name, text in inner.items()}


def write(_: Sphinx) -> None:
    """Writes the pages, those of an earlier build out of the way."""
    shutil.rmtree(MADE, ignore_errors=True)
    for path, text in (copies() | methods() | reference()).items():
        (MADE / path).parent.mkdir(parents=True, exist_ok=True)
        (MADE / path).with_suffix(".md").write_text(text + "\n")


def inside(_: Sphinx, __: str, text: list[str]) -> None:
    """Links of docs/*.md that lead out of docs/ on GitHub lead to the site's own copies."""
    for name in ("README", "CONTRIBUTING"):
        text[0] = text[0].replace(f"](../{name}.md", f"](generated/{name.lower()}.md")


def routed(_: Sphinx, __: str, name: str, *rest: object) -> bool | None:
    """Leaves out the methods that scikit-learn makes for every estimator, whose texts point into its own pages."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write)
    app.connect("source-read", inside)
    app.connect("autodoc-skip-member", routed)
    return {"parallel_read_safe": True}
