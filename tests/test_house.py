"""The house itself: what it offers by name, and that its rooms import one way."""

import ast
import inspect
from pathlib import Path

import pytest

import quickstudy as qs
from quickstudy.catalogue import FAMILIES, METHODS, SOME, Setting, build

ROOMS = [
    ["atomic", "allocator", "seeds", "svm", "contract", "peers", "onnx_operators"],
    ["task_norm", "onnx_graph"],
    ["tensors", "stacked", "functional"],
    ["inner_loop"],
    ["implicit"],
    ["data"],
    ["encoders"],
    ["tasks"],
    ["methods"],
    ["catalogue"],
    ["checkpoint", "engine", "processes"],
    ["embedded", "run_state"],
    ["scores"],
    ["evaluation"],
    ["left_out"],
    ["confidence", "more_examples", "none_of_these", "tuning"],
    ["calibration"],
    ["conformal"],
    ["training"],
    ["comparison", "runs", "progress"],
    ["inputs"],
    ["shipped"],
    ["ready"],
    ["estimator_inputs"],
    ["estimators", "regressor", "checks"],
    ["shipping", "export"],
    ["user_items"],
    ["numbers_told"],
    ["page"],
    ["report", "plan"],
    ["commands"],
    ["cli"],
    ["__main__"],
]
SOURCE = Path(qs.__file__).parent
HEIGHT = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}


def test_what_is_offered_is_what_is_imported():
    public = {name for name, value in vars(qs).items() if not name.startswith("_") and not inspect.ismodule(value)}
    functions_named_like_modules = {"omniglot", "digits", "glyphs"} & set(vars(qs))
    assert set(qs.__all__) == public | functions_named_like_modules
    assert len(qs.__all__) == len(set(qs.__all__))


@pytest.mark.parametrize("name", [name for name in qs.__all__ if name not in ("Memory", "Tasks")])
def test_everything_offered_says_what_it_is(name):
    assert len((getattr(qs, name).__doc__ or "").strip()) > 20


def test_every_method_of_the_catalogue_is_offered():
    offered = {getattr(qs, name) for name in qs.__all__}
    assert {type(build(name, Setting())) for name in METHODS} <= offered


def test_every_family_has_a_sentence_and_methods():
    assert set(FAMILIES) == {method.family for method in METHODS.values()}


def test_a_first_comparison_takes_methods_of_every_family():
    assert {METHODS[name].family for name in SOME} == {method.family for method in METHODS.values()}
    assert set(SOME) < set(METHODS)


def test_rooms_import_only_rooms_below_them():
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).with_suffix("").parts[0]
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("quickstudy."):
                other = node.module.split(".")[1]
                assert HEIGHT[other] < HEIGHT[room] or other == room, f"{path.name} imports {node.module}"


def test_a_method_says_its_paper_or_what_it_is_and_stays_short():
    for path in (SOURCE / "methods").rglob("*.py"):
        text = path.read_text()
        assert text.startswith('"""')
        assert text.count("\n") <= 110, path
