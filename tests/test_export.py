import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from learners import WAYS, learner, mlp, toy_data
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from torch import nn

import quickstudy as qs
from quickstudy.catalogue import Setting, build
from quickstudy.cli import main
from quickstudy.conformal import Calibration
from quickstudy.onnx_graph import Unexportable, graph
from quickstudy.runs import begin, learner_about
from quickstudy.training import KEPT

DOCS = Path(__file__).parents[1] / "docs" / "onnx.md"
WINES, KINDS = load_wine(return_X_y=True)


def ran(path, **feed: np.ndarray) -> np.ndarray:
    return np.asarray(onnxruntime.InferenceSession(path).run(["probabilities"], feed)[0])


def about(path) -> dict:
    found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return {key: json.loads(text) for key, text in found.items()}


def pictures(flat: bool = True) -> tuple[np.ndarray, np.ndarray]:
    data = toy_data()
    x, y = (data.x[data.y < WAYS].numpy() / 255).astype(np.float32), data.y[data.y < WAYS].numpy()
    return x.reshape(len(x), -1) if flat else x, y


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The learner for tables, as a file that learns."""
    path = tmp_path_factory.mktemp("onnx") / "table.onnx"
    qs.export_adaptation("table", path, ways=3, shots=2)
    return path


def test_a_task_that_was_learned_is_answered_as_by_pytorch(tmp_path):
    x, y = pictures()
    fitted = qs.FewShotClassifier(learner("maml")).fit(x[::3], np.array(["b", "c", "a"])[y[::3]])
    fitted.calibration_ = Calibration(0.7, 0.7, [0.0, 1.0], [0.0, 1.0], [0.0, 1.0])
    qs.export_classifier(fitted, tmp_path / "task.onnx", shape=(256,))
    for queries in (x, x[:1]):
        np.testing.assert_allclose(ran(tmp_path / "task.onnx", x=queries), fitted.predict_proba(queries), atol=1e-5)
    told = about(tmp_path / "task.onnx")
    assert (told["classes"], told["temperature"], told["encoding"]) == (["a", "b", "c"], fitted.temperature_, {})
    assert told["learner"] == "MAML"


def test_a_learner_learns_as_by_pytorch_from_any_number_of_examples(tmp_path):
    x, y = pictures()
    one = learner("r2d2").eval()
    qs.export_adaptation(one, tmp_path / "learner.onnx", ways=WAYS, temperature=1.5, shape=(256,))
    for step in (1, 5):  # more examples than there are features, and fewer
        support = qs.Examples(torch.from_numpy(x[::step])[None], torch.from_numpy(y[::step])[None], WAYS)
        with torch.no_grad():
            logits = one.predict(one.adapt(support), torch.from_numpy(x[:7])[None]).logits[0]
        found = ran(tmp_path / "learner.onnx", support_x=x[::step], support_y=y[::step], x=x[:7])
        np.testing.assert_allclose(found, (logits / 1.5).softmax(-1), atol=1e-5)
    assert about(tmp_path / "learner.onnx")["ways"] == WAYS


@pytest.mark.parametrize("name", ["protonet", "mahalanobis"])
def test_a_file_that_learns_finds_no_class_that_it_was_not_shown(name, tmp_path):
    one, (x, y) = learner(name).eval(), pictures(flat=name != "protonet")
    qs.export_adaptation(one, tmp_path / "learner.onnx", ways=WAYS, shape=x.shape[1:])
    for shown, rows in ((WAYS, np.arange(0, len(x), 3)), (1, np.flatnonzero(y == 2)[:3])):
        support = qs.Examples(torch.from_numpy(x[rows])[None], torch.from_numpy(y[rows])[None], WAYS)
        with torch.no_grad():
            probs = one.predict(one.adapt(support), torch.from_numpy(x[:20])[None]).probs[0]
        found = ran(tmp_path / "learner.onnx", support_x=x[rows], support_y=y[rows], x=x[:20])
        np.testing.assert_allclose(found, probs, atol=1e-5)
        assert (found.max(0) > 0).sum() == shown


def at_the_files_temperature(fitted: qs.FewShotClassifier) -> qs.FewShotClassifier:
    """With that of other tasks of 3 classes with 2 examples each, which this task's own do not move."""
    fitted.own_ = fitted.own()._replace(temperature=fitted.ready_.calibration(3, 2).temperature)
    return fitted


def test_the_learner_for_tables_learns_any_table(table):
    for columns, shots in ((13, 9), (4, 30)):
        x, y = WINES[::shots, :columns], KINDS[::shots]
        fitted = at_the_files_temperature(qs.FewShotClassifier().fit(x, y))
        rows, queries = fitted.encode_(x).numpy(), WINES[:, :columns]
        found = ran(table, support_x=rows, support_y=y, x=fitted.encode_(queries).numpy())
        np.testing.assert_allclose(found, fitted.predict_proba(queries), atol=1e-6)


def test_the_documented_script_learns_where_pytorch_cannot_be_imported(table):
    script, shown = DOCS.read_text().split("```python\n")[1].split("```\n\n```\n")[:2]
    blocked = "import sys; sys.modules['torch'] = sys.modules['quickstudy'] = None\n"
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, "-c", blocked + "import torch"], check=True, capture_output=True)
    run = subprocess.run(
        [sys.executable, "-c", blocked + script], cwd=table.parent, check=True, capture_output=True, text=True
    )
    assert run.stdout == shown.partition("```")[0]
    lines = script.replace("table.onnx", str(table)).splitlines()
    names: dict = {}
    exec("\n".join(lines[:-1]), names)  # so that what it prints can be compared with more digits
    fitted = at_the_files_temperature(qs.FewShotClassifier().fit(names["rows"], names["labels"]))
    np.testing.assert_allclose(ran(table, **names["feed"]), fitted.predict_proba(names["queries"]), atol=1e-6)


def test_a_pre_trained_network_is_part_of_the_file(tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs quickstudy[vision]")
    seen = np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)
    fitted = qs.FewShotClassifier("images").fit(list(seen[:4]), ["a", "b", "a", "b"])
    qs.export_classifier(fitted, tmp_path / "task.onnx")
    found = ran(tmp_path / "task.onnx", x=seen.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    np.testing.assert_allclose(found, fitted.predict_proba(list(seen)), atol=1e-4)
    assert about(tmp_path / "task.onnx")["takes"] == "pictures of this size, with pixels in [0, 1]"


def command(monkeypatch, capsys, *words: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["quickstudy", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    found = capsys.readouterr()
    return code, (found.out + found.err).replace("\n", " ")


def test_the_command_exports_an_adapted_task(monkeypatch, capsys, tmp_path):
    rows = np.concatenate([WINES[:, :2], np.where(WINES[:, 2:3] > 2.3, "high", "low")], 1).astype(object)
    fitted = qs.FewShotClassifier().fit(rows[::9], KINDS[::9])
    qs.save_task(fitted, tmp_path / "task")
    assert command(monkeypatch, capsys, "export", tmp_path / "task", tmp_path / "task.onnx")[0] == 0
    found = ran(tmp_path / "task.onnx", x=fitted.encode_(rows).numpy())
    np.testing.assert_allclose(found, fitted.predict_proba(rows), atol=1e-6)
    assert about(tmp_path / "task.onnx")["encoding"] == fitted.encode_.about()


def test_the_command_exports_the_learner_of_a_run(monkeypatch, capsys, tmp_path):
    setting = Setting("conv4-strided", 1, 16, WAYS)
    begin(tmp_path / "run", learner_about("protonet", setting), resume=False)
    qs.save_learner(build("protonet", setting), tmp_path / "run" / KEPT)
    words = ["export", tmp_path / "run", tmp_path / "run.onnx", "--adaptation", "--ways", 2, "--shots", 5]
    assert command(monkeypatch, capsys, *words)[0] == 0
    x, y = pictures(flat=False)
    x, y = x[y < 2], y[y < 2]
    fitted = qs.FewShotClassifier(tmp_path / "run").fit(x[::4], y[::4])
    found = ran(tmp_path / "run.onnx", support_x=x[::4], support_y=y[::4], x=x)
    np.testing.assert_allclose(found, fitted.predict_proba(x), atol=1e-5)


def test_wrong_commands_are_told_in_one_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "text").write_text("no")
    cases = [
        (["table"], "table is no file of an adapted task. Write one with `quickstudy adapt`, or pass --adaptation"),
        (["table", "--ways", "3"], "--ways and --shots are for a learner that learns anew"),
        (["table", "--adaptation"], "how many classes will a task have? Pass --ways."),
        (["tabel", "--adaptation", "--ways", "3"], "'tabel' is neither a learner that ships"),
        ([tmp_path / "text"], "is no checkpoint of quickstudy"),
    ]
    for words, complaint in cases:
        code, said = command(monkeypatch, capsys, "export", words[0], tmp_path / "a.onnx", *words[1:])
        assert code == 2
        assert complaint in said
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("maml", "MAML learns cannot be exported: it takes gradients, and ONNX has none. Learn a task here and export"),
        ("matching-full-context", "no one graph is right for every number of support examples"),
        ("linear-probe", "it leaves PyTorch for numpy on its way"),
    ],
)
def test_a_learning_that_no_graph_can_hold_is_refused(tmp_path, name, why):
    with pytest.raises(ValueError, match=why):
        qs.export_adaptation(learner(name), tmp_path / "a.onnx", ways=WAYS, shape=(256,))
    assert not list(tmp_path.iterdir())


def test_a_memory_that_no_graph_can_ask_is_refused(tmp_path):
    x, y = pictures()
    fitted = qs.FewShotClassifier(learner("abml")).fit(x, y)
    with pytest.raises(ValueError, match="what this ABML has learned cannot be exported: it draws random numbers"):
        qs.export_classifier(fitted, tmp_path / "a.onnx", shape=(256,))
    assert not list(tmp_path.iterdir())


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Broken(nn.Module):
    def forward(self, x):
        if torch.compiler.is_compiling():
            raise LookupError("a reason of its own\nand more")
        return x


def test_an_operator_that_onnx_has_not_is_named():
    with pytest.raises(Unexportable, match="ONNX has no operator for PyTorch's prims.bessel_j0"):
        graph(Bessel(), {"x": torch.ones(3)}, {"x": {0: "query"}}, "y", {})
    with pytest.raises(Unexportable, match=r"PyTorch cannot export it \(a reason of its own\)$"):
        graph(Broken(), {"x": torch.ones(3)}, {"x": {0: "query"}}, "y", {})


@pytest.mark.usefixtures("unchecked")
def test_a_regressor_has_no_probabilities_to_export(tmp_path):
    with pytest.raises(TypeError, match="by a FewShotClassifier; a FewShotRegressor has none. Write .* with save_task"):
        qs.export_classifier(qs.FewShotRegressor().fit(WINES[::9, :4], KINDS[::9]), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_wrong_use_is_told(tmp_path, monkeypatch):
    path, protonet = tmp_path / "a.onnx", qs.PrototypicalNetwork(mlp(4, 8))
    fitted = qs.FewShotClassifier(protonet).fit(WINES[:, :4], KINDS)
    with pytest.raises(NotFittedError):
        qs.export_classifier(qs.FewShotClassifier(), path)
    dated = qs.FewShotClassifier(protonet).fit(WINES[:, :4], np.array(["2020-01-01", "2020-01-02"], "M8[D]")[KINDS % 2])
    with pytest.raises(TypeError, match=r"labels of type datetime64\[D\], such as 2020-01-01, cannot be written"):
        qs.export_classifier(dated, path, shape=(4,))
    with pytest.raises(ValueError, match=r"which shape has one example\? Pass shape=, such as shape=\(1, 28, 28\)"):
        qs.export_classifier(fitted, path)
    with pytest.raises(ValueError, match=r"takes no examples of shape \[5\] \(mat1 and mat2.*; pass shape=."):
        qs.export_classifier(fitted, path, shape=(5,))
    with pytest.raises(ValueError, match=r"takes no examples of shape \[5\]"):
        qs.export_adaptation(protonet, path, ways=3, shape=(5,))
    with pytest.raises(ValueError, match="a task has at least 2 classes to tell apart; ways is 1"):
        qs.export_adaptation(protonet, path, ways=1, shape=(4,))
    with pytest.raises(ValueError, match=r"takes no examples of shape \[5\]"):
        qs.export_adaptation(learner("in-context"), path, ways=3, shape=(5,))
    for wrong in ({"shots": 0}, {"temperature": -1.0}, {"shots": float("nan")}):
        with pytest.raises(ValueError, match="shots and temperature are positive where given; they are"):
            qs.export_adaptation(protonet, path, ways=3, shape=(4,), **wrong)
    with pytest.raises(ValueError, match="was built for 4 classes, and there are 5"):
        qs.export_adaptation(learner("in-context"), path, ways=5, shape=(256,))
    monkeypatch.delitem(sys.modules, "quickstudy.onnx_operators", raising=False)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"ONNX files need onnx and onnxscript.*pip install 'quickstudy\[onnx\]'"):
        qs.export_classifier(fitted, path, shape=(4,))
    assert not path.exists()


class Algebra(nn.Module):
    """Every translation of an operator that ONNX has not."""

    def forward(self, a, b):
        lower, upper = torch.linalg.cholesky(a), torch.linalg.cholesky(a, upper=True)
        solve = torch.linalg.solve_triangular
        solved = [
            solve(lower, b, upper=False),
            solve(upper, b, upper=True),
            solve(a.tril() / 9, b, upper=False, unitriangular=True),
            solve(lower, b.mT, upper=False, left=False).mT,
            torch.cholesky_solve(b, lower),
            torch.cholesky_solve(b, upper, upper=True),
        ]
        order = b.round().sort(dim=1, stable=True)[1].to(a.dtype)
        return torch.cat([lower, upper, *solved, order], -1)


def test_linear_algebra_is_the_same_for_matrices_of_any_size(tmp_path):
    generator = torch.Generator().manual_seed(0)

    def system(size: int) -> dict[str, torch.Tensor]:
        root, b = (torch.randn(2, size, n, generator=generator, dtype=torch.float64) for n in (size, 3))
        return {"a": root @ root.mT + torch.eye(size, dtype=torch.float64), "b": b}

    axes = {"a": {1: "n", 2: "n"}, "b": {1: "n"}}
    (tmp_path / "a.onnx").write_bytes(graph(Algebra(), system(7), axes, "probabilities", {}))
    for size in (1, 4, 20):
        inputs = system(size)
        found = ran(tmp_path / "a.onnx", **{name: tensor.numpy() for name, tensor in inputs.items()})
        np.testing.assert_allclose(found, Algebra()(**inputs), atol=1e-9)
