"""The error of an item that cannot be encoded, which knows the item's place."""


class WrongItem(ValueError):
    """An item that cannot be encoded; it is called by its number, the first being 1.

    Who knows the file that it came from can say that instead, of what is kept here.

    Args:
        row: The place of the item, from 0.
        said: What is wrong with it, and what to do, in sentences.
        column: The place of its wrong value, from 0, in a table.
    """

    def __init__(self, row: int, said: str, column: int | None = None):
        self.row, self.said, self.column = row, said, column
        where = f"item {row + 1}" if column is None else f"row {row + 1}, column {column + 1}"
        super().__init__(f"{where}: {said}")
