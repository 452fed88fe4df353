"""Runs what a page of the docs shows, from top to bottom in this folder: `python snippets.py PAGE [COMMAND...]`.

COMMAND are those that the page only names, and are run before, by the shell's `quickstudy`. Python of every block is
run, doctests and plain code alike, in one namespace; what plain code prints must be the block that follows. A file that
the page gives as "`NAME`:" and a block is written. Lines of a console block that begin with `$ quickstudy` are run, and
must print what stands below them, percentages to within a point.
"""

import contextlib
import doctest
import io
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import quickstudy
from quickstudy.cli import main

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FENCE = re.compile(r"(?:`(?P<file>[\w.-]+)`:\n\n|^)```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PERCENT = re.compile(r"[\d.]+(?=%)")


def check(what: str, wanted: str, got: str) -> None:
    """Raises AssertionError where something printed other than the page shows."""
    shares = [[float(share) for share in PERCENT.findall(text)] for text in (wanted, got)]
    same = doctest.OutputChecker().check_output(PERCENT.sub("", wanted), PERCENT.sub("", got), FLAGS)
    if not same or any(abs(one - other) > 1 for one, other in zip(*shares, strict=False)):
        raise AssertionError(f"{what}\nis said to print\n{wanted}\nand printed\n{got}")


def run_command(command: str) -> str:
    """What a command prints, run in this process by what the shell's `quickstudy` calls: imports take longest."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, mock.patch.object(sys, "argv", shlex.split(command)):
        try:
            main()
        except SystemExit as ended:
            found = command.startswith("quickstudy check") and ended.code == 1  # what was looked for, and to be shown
            if ended.code and not found:
                raise AssertionError(f"{command}\nfailed, with status {ended.code}") from None
    return printed.getvalue()


def run_doctest(text: str, page: str, line: int, names: dict) -> None:
    test = doctest.DocTestParser().get_doctest(text, names, page, page, line)
    if doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False).failed:
        raise AssertionError(f"{page} shows another answer than there is.")
    names.update(test.globs)


def run_page(page: Path) -> int:
    """Runs a page's blocks in the working folder; how many there were.

    Raises:
        AssertionError: One of them failed, or printed something else.
    """
    text, names, ran, wrong = page.read_text(), {"__name__": "__main__"}, 0, []
    for block in FENCE.finditer(text):
        line, ran = text.count("\n", 0, block.start("text")), ran + 1
        if block["file"]:
            Path(block["file"]).write_text(block["text"])
        elif block["kind"] == "python" and ">>>" in block["text"]:
            run_doctest(block["text"], page.name, line, names)
        elif block["kind"] == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile("\n" * line + block["text"], str(page), "exec"), names)
            if printed.getvalue():
                shown = FENCE.match(text, block.end() + 2)
                check(block["text"], shown["text"] if shown else "", printed.getvalue())
        elif block["kind"] == "console":
            for part in re.split(r"^\$ (?=quickstudy )", block["text"], flags=re.MULTILINE)[1:]:
                command, _, wanted = part.partition("\n")
                try:
                    check(command, wanted, run_command(command))
                except AssertionError as error:
                    wrong.append(str(error))  # and go on, so that a page whose answers changed is told all of them
        else:
            ran -= 1
    if wrong:
        raise AssertionError("\n\n".join(wrong))
    return ran


if __name__ == "__main__":
    warnings.simplefilter("error")
    for command in sys.argv[2:]:
        subprocess.run(shlex.split(command), check=True)
    print(run_page(Path(sys.argv[1])), "blocks ran with", quickstudy.__file__)
