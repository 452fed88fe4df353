"""Labelled texts, and the files of text that they are read from."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

from quickstudy.data.files import data_directory
from quickstudy.data.labelled import LabelledData


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their classes, from which an encoder makes labelled data.

    Args:
        texts: All of them.
        rows: Which of them belong to which class: labelled data whose examples are numbers of texts.
        outside: Texts of none of the classes, where there are any.

    Example:
        >>> some = LabelledTexts.of("two", {"hello": ["hi", "good day"], "bye": ["see you"]})
        >>> some.embedded(lambda texts: torch.tensor([[float(len(text))] for text in texts])).x.T
        tensor([[7., 2., 8.]])
    """

    texts: tuple[str, ...]
    rows: LabelledData
    outside: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        by_class: Mapping[str, Sequence[str]],
        groups: Mapping[str, str] | None = None,
        outside: Iterable[str] = (),
    ) -> "LabelledTexts":
        """The texts of each class, classes in the order of the alphabet.

        Args:
            name: What the data is called in tables and messages.
            by_class: The texts of each class, by its name.
            groups: The group of each class, where there are groups.
            outside: Texts of none of the classes.

        Raises:
            ValueError: No texts, or a class without a group.
        """
        classes = tuple(sorted(by_class))
        lost = [c for c in classes if groups is not None and c not in groups]
        if not classes or lost:
            raise ValueError(f"{name}: {f'class {lost[0]!r} is in no group' if lost else 'there are no texts'}.")
        texts = tuple(text for c in classes for text in by_class[c])
        y = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(by_class[c]) for c in classes]))
        belongs = None if groups is None else tuple(groups[c] for c in classes)
        return cls(texts, LabelledData(name, torch.arange(len(texts)), y, classes, belongs), tuple(outside))

    def first(self, count: int) -> "LabelledTexts":
        """The first so many texts of each class, at least 1, or all where a class has fewer."""
        if count < 1:
            raise ValueError(f"{self.rows.name}: at least 1 text of each class is kept, not {count}.")
        table, counts = self.rows.table, self.rows.counts.clamp(max=count).tolist()
        kept = torch.cat([row[:most] for row, most in zip(table, counts, strict=True)])
        return replace(self, rows=replace(self.rows, x=self.rows.examples(kept), y=self.rows.y[kept]))

    def keep(self, wanted: Callable[[str], bool]) -> "LabelledTexts":
        """The texts of the classes whose name is wanted."""
        return replace(self, rows=self.rows.keep(wanted))

    def listed(self) -> list[str]:
        """The text of each row."""
        return [self.texts[row] for row in self.rows.examples(torch.arange(len(self.rows))).tolist()]

    def embedded(self, encode: Callable[[Sequence[str]], Shaped[Tensor, "text *x"]]) -> LabelledData:
        """Labelled data of what an encoder makes of the texts, such as embeddings, or tokens."""
        return replace(self.rows, x=encode(self.listed()))


def text_file(data_dir: str | Path | None, places: Sequence[str], name: str, source: str) -> str:
    """What a file of some folder holds, perhaps compressed by gzip, with .gz behind its name.

    Args:
        data_dir: The folder; the variable QUICKSTUDY_DATA unless given.
        places: Where to look in it.
        name: Of the file.
        source: Where it can be had.

    Raises:
        FileNotFoundError: No folder, or not the file.
        ValueError: A file that is broken.
    """
    folder = data_directory(data_dir)
    for path in [folder / place / (name + end) for place in places for end in ("", ".gz")] if folder else []:
        if path.is_file():
            try:
                content = path.read_bytes()
                return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
            except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
                raise ValueError(f"{path} is not a whole file of text ({error}). Fetch it again.") from None
    raise FileNotFoundError(
        f"{name} is not in {folder or 'any folder, as none was named'}. Fetch it from {source} and name the folder "
        f"with --data-dir or the variable QUICKSTUDY_DATA."
    )
