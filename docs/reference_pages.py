"""The pages of the reference: what `import quickstudy` offers, room by room, each with its docstring."""

import inspect

import quickstudy

ROOMS = {
    "Your own examples": ("estimators", "regressor", "ready", "shipping", "export"),
    "The contract": ("contract", "task_norm"),
    "Data": ("data",),
    "Tasks": ("tasks",),
    "Encoders": ("encoders",),
    "Training": ("training", "engine", "checkpoint"),
    "Evaluation and comparison": ("evaluation", "scores", "comparison", "confidence", "none_of_these", "tuning"),
}
"""The rooms of the package under the headings of the reference; methods have pages of their own."""


def described(kind: str, name: str, *options: str) -> str:
    """A directive that prints a docstring with its signature."""
    lines = [f".. auto{kind}:: {name}", *(f"   :{option}:" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def contents(pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":maxdepth: 1", "", *pages, "```"])


def reference_page(heading: str, names: list[str]) -> str:
    """The public names of some rooms, each with its docstring."""
    parts = [f"# {heading}"]
    for name in names:
        one = getattr(quickstudy, name)
        if inspect.isclass(one):
            parts.append(described("class", f"quickstudy.{name}", "members"))
        elif inspect.isroutine(one):
            parts.append(described("function", f"quickstudy.{name}"))
        else:
            parts.append(described("data", f"quickstudy.contract.{name}"))  # Memory, a name for a union of types
    return "\n\n".join(parts)


def heading_of(name: str) -> str:
    """Under which heading of the reference a public name is; none for a method."""
    module = getattr(quickstudy, name).__module__
    room = module.split(".")[1] if module.startswith("quickstudy.") else "contract"  # Memory's is no module of ours
    return next((heading for heading, rooms in ROOMS.items() if room in rooms), "" if room == "methods" else room)


def reference() -> dict[str, str]:
    """The reference's pages by their paths.

    Raises:
        ValueError: A public name of a room that has no heading.
    """
    if lost := [name for name in quickstudy.__all__ if heading_of(name) not in (*ROOMS, "")]:
        raise ValueError(f"the reference has no heading for {', '.join(lost)}; name the room in ROOMS, in {__file__}.")
    made = {}
    for heading in ROOMS:
        names = [name for name in quickstudy.__all__ if heading_of(name) == heading]
        made[f"reference/{heading.lower().replace(' ', '-')}"] = reference_page(heading, names)
    about = "What `import quickstudy as qs` offers, room by room; methods have [pages of their own](methods.md)."
    return made | {"reference": "\n\n".join(["# Reference", about, contents(list(made))])}
