"""The docs site: it is built without a warning, has a page for each method, and needs no other machine."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import quickstudy as qs
from quickstudy.catalogue import METHODS, Setting, build
from quickstudy.task_norm import TaskNormalized

ROOT = Path(__file__).parents[1]


class Read(HTMLParser):
    """What a page leads to, what it loads, what can be led to in it, and its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.links, self.loads, self.names, self.text = path, [], [], set(), ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        self.names.add(about.get("id"))
        self.links += [about["href"]] if tag == "a" and about.get("href") else []
        self.loads += [about[key] for key in ("src", "href") if tag in ("script", "img", "link") and about.get(key)]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[str, Read]:
    """The pages of the site, built anew, by their paths."""
    folder = tmp_path_factory.mktemp("site")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees"]
    made = subprocess.run([*sphinx, ROOT / "docs", folder / "html"], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    pages = (folder / "html").rglob("*.html")
    return {path.relative_to(folder / "html").as_posix(): Read(path) for path in pages if "_static" not in path.parts}


def test_every_link_of_the_site_leads_somewhere(site):
    top = site["index.html"].path.parent
    for path, page in site.items():
        for link in page.links:
            where, name = urldefrag(link)
            if where.startswith(("http://", "https://", "mailto:")):
                continue
            target = (page.path.parent / unquote(where)).resolve() if where else page.path
            assert target.exists(), f"{path}: {link}"
            if name and target.suffix == ".html":
                assert unquote(name) in site[target.relative_to(top).as_posix()].names, f"{path}: {link}"


def test_the_site_loads_nothing_from_another_machine(site):
    for path, page in site.items():
        assert not [load for load in page.loads if re.match(r"(\w+:)?//", load)], path


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_page_with_its_signature_its_paper_and_what_it_reached(site, name):
    page, learner = site[f"generated/method/{name}.html"], build(name, Setting())
    one = type(learner.learner if isinstance(learner, TaskNormalized) else learner)
    assert f"class quickstudy.{one.__name__}(" in page.text
    assert one.__doc__.split("\n")[0].split("`")[0] in page.text
    raced = (ROOT / "benchmarks" / "results" / f"race-omniglot-{name}.json").exists()
    assert ("5-way 1-shot" in page.text, "Not yet raced" in page.text) == (raced, not raced)


def test_the_table_of_methods_says_of_each_what_reports_say():
    text = (ROOT / "docs" / "methods.md").read_text()
    for name, about in METHODS.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.split(" | ")[2:5] == [about.family, about.across, about.remembers]


def test_a_raced_method_shows_the_row_that_the_results_have(site):
    results = (ROOT / "docs/results.md").read_text()
    (row,) = re.findall(r"^\| metric \| Prototypical network \| (97.*) \|$", results, re.MULTILINE)
    for cell in row.split(" | "):
        assert cell in site["generated/method/protonet.html"].text


def test_the_reference_or_a_methods_page_has_everything_that_is_offered(site):
    names = set().union(*(page.names for page in site.values()))
    public = {f"quickstudy.{name}" for name in qs.__all__ if name != "Memory"} | {"quickstudy.contract.Memory"}
    assert public <= names


def test_shapes_are_read_in_signatures(site):
    assert "support: Examples) → Float[Tensor, 'task way d']" in re.sub(
        r"\s*\n\s*", "", site["generated/method/protonet.html"].text
    )


def test_numbers_of_the_guide_stand_in_the_pages_that_it_cites():
    sources = "".join((ROOT / path).read_text() for path in ("README.md", "docs/results.md", "docs/learners.md"))
    numbers = re.findall(r"[+-]?\d+\.\d+%? ± \d+\.\d+%?", (ROOT / "docs/which.md").read_text())
    assert len(numbers) > 40
    assert not [number for number in numbers if number not in sources]
