"""What README.md and docs/ show is run, as a user has it: by the installed wheel, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from page_files import lay_out
from snippets import check, run_page

from quickstudy.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "uses").glob("*.md"))]
BEFORE = {"onnx.md": ["quickstudy export table table.onnx --adaptation --ways 3 --shots 2"]}
"""Commands that a page's Python needs and that stand in it without their output."""
RUN = [page for page in PAGES if re.search("^```(python|console)$", page.read_text(), re.M)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A folder into which the package was installed, from a wheel that was built of this repository."""
    built, installed = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, ROOT], check=True)
    (made,) = built.glob("quickstudy-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", installed, made], check=True)
    return installed


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_what_a_page_shows_runs_with_the_installed_wheel(page, wheel, tmp_path):
    about = {name: value for name, value in os.environ.items() if name != "QUICKSTUDY_DATA"}
    about |= {"PYTHONPATH": str(wheel), "PATH": f"{wheel / 'bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}
    page = lay_out(page, tmp_path)
    command = [sys.executable, ROOT / "tests" / "snippets.py", page, *BEFORE.get(page.name, [])]
    done = subprocess.run(command, cwd=tmp_path, env=about, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ran, _, where = done.stdout.splitlines()[-1].partition(" blocks ran with ")
    assert int(ran) == len(re.findall("^```(?:python|console)$|`:\n\n```$", page.read_text(), re.MULTILINE))
    assert Path(where).is_relative_to(wheel)
    assert all(command in page.read_text() for command in BEFORE.get(page.name, []))


WRONG = {
    "a doctest": "```python\n>>> 1 + 1\n3\n\n```",
    "a print": "```python\nprint(2)\n```\n\n```\n3\n```",
    "an error": "```python\nassert False\n```",
    "a file": "`a`:\n\n```\nb\n```\n\n```python\n>>> import pathlib\n>>> pathlib.Path('a').read_text()\n'c'\n\n```",
    "a command": "```console\n$ quickstudy --version\nslowstudy\n```",
    "a command that fails": "```console\n$ quickstudy predict table none.csv none.csv\n```",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_page_that_shows_what_is_not_so_fails(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(text + "\n")
    with pytest.raises(AssertionError):
        run_page(tmp_path / "page.md")


def test_percentages_may_differ_by_a_point_and_words_may_not():
    check("a command", "yes 90.0%", "yes   90.9%")
    for got in ("yes 91.1%", "no 90.0%"):
        with pytest.raises(AssertionError, match="is said to print"):
            check("a command", "yes 90.0%", got)


def commands(text: str) -> list[list[str]]:
    """The words after `quickstudy` of every command that a text names, in a block or in a sentence."""
    blocks = re.sub("^```(?:python|json)\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
    lines = re.findall(r"^(?:\$ |srun |torchrun .*-m )?quickstudy ([a-z]+(?: .*)?)$", blocks, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines + re.findall(r"`quickstudy ([a-z][^`]*)`", blocks)]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_command_that_a_page_names_has_its_options(page):
    known = typer.main.get_command(app).commands
    for name, *words in commands(page.read_text()):
        assert name in known, f"{page.name}: quickstudy {name}"
        context = known[name].make_context(name, [], resilient_parsing=True)
        known[name].make_parser(context).parse_args(words)  # fails where there is no such option, or a value lacks


def test_commands_are_found_in_blocks_and_in_sentences():
    block = "```\n$ quickstudy data list  # all\nsrun quickstudy train x\n```"
    text = f"`quickstudy check A --json B`, quickstudy asks\n{block}"
    assert commands(text) == [["data", "list"], ["train", "x"], ["check", "A", "--json", "B"]]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_benchmark_that_a_page_names_is_there(page):
    for name in re.findall(r"benchmarks/\w+\.py", page.read_text()):
        assert (ROOT / name).exists(), f"{page.name}: {name}"
