"""FewRel: relations between two things that a sentence names (Han et al., 2018). https://arxiv.org/abs/1810.10147"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from quickstudy.data.texts import LabelledTexts, text_file

PLACES, SOURCE = ("", "fewrel", "text/fewrel"), "https://github.com/thunlp/FewRel (data)"
DOMAINS = {"wiki": "Wikipedia", "nyt": "news", "pubmed": "PubMed", "semeval": "SemEval-2010"}


class Related(NamedTuple):
    """A sentence that says how two things are related.

    Args:
        words: Of the sentence.
        head: The places of the first thing's words.
        tail: The places of the second's.
    """

    words: list[str]
    head: list[int]
    tail: list[int]

    def name(self, places: list[int]) -> str:
        """The words at some places."""
        return " ".join(self.words[place] for place in places)


def marked(one: Related) -> str:
    """The sentence, with a hash around the first thing and a star around the second, behind the names of both."""
    words = list(one.words)
    for places, mark in ((one.head, "#"), (one.tail, "*")):
        words[places[0]] = f"{mark} {words[places[0]]}"
        words[places[-1]] = f"{words[places[-1]]} {mark}"
    return f"{one.name(one.head)} , {one.name(one.tail)} : {' '.join(words)}"


def fewrel(
    data_dir: str | Path | None = None, domain: str = "wiki", write: Callable[[Related], str] = marked
) -> LabelledTexts:
    """Sentences of one domain of FewRel that is public, by the relation that they state.

    Args:
        data_dir: A folder that holds val_DOMAIN.json and pid2name.json (or either with .gz), or a folder fewrel or
            text/fewrel with them; the variable QUICKSTUDY_DATA unless given.
        domain: "wiki": 16 relations with 700 sentences each; "nyt": 25 relations in news, some of them among those 16;
            "pubmed": 10 in medicine; "semeval": 17 of SemEval-2010's task 8 (Gao et al., 2019, FewRel 2.0).
            https://arxiv.org/abs/1910.07124
        write: Makes a text of a sentence and its two things.

    Raises:
        FileNotFoundError: No folder, or not its files.
        ValueError: Another domain, or a file that is not FewRel's.
    """
    if domain not in DOMAINS:
        raise ValueError(f"a domain of FewRel is one of {', '.join(DOMAINS)}; not {domain!r}.")
    named, data = (text_file(data_dir, PLACES, name, SOURCE) for name in ("pid2name.json", f"val_{domain}.json"))
    try:
        names = {code: told[0] for code, told in json.loads(named).items()}
        by_relation = {
            names.get(code, code): [write(related(row)) for row in rows] for code, rows in json.loads(data).items()
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f"val_{domain}.json or pid2name.json is not FewRel's ({type(error).__name__}: {error}). Fetch both again."
        ) from None
    return LabelledTexts.of(f"FewRel, {DOMAINS[domain]}", by_relation)


def related(row: dict) -> Related:
    """A row of such a file; of a thing that is named more than once, its first place."""
    return Related(row["tokens"], row["h"][2][0], row["t"][2][0])
