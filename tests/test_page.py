import io
import json
import pickle
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest
import torch
from pages import DARK, LIGHT, PICTURES, TEXTS, begin, client, grey, shown
from torch import nn

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.encoders.kept import Kept
from quickstudy.onnx_graph import Unexportable, graph
from quickstudy.page.apart import graph_apart
from quickstudy.page.app import create_app
from quickstudy.page.safe import Limits, Refused
from quickstudy.page.samples import sample
from quickstudy.page.sessions import Sessions
from quickstudy.page.task import Task, without_memory
from quickstudy.ready import Ready


@pytest.fixture
def page():
    with client() as one:
        yield one


def test_a_few_pictures_are_learned_from_and_others_answered(page):
    own = begin(page)
    learned = page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own).json()
    assert learned["added"] == [1, 2, 3, 4]
    assert learned["classes"] == {"dark": 2, "light": 2}
    assert learned["ready"]
    assert learned["left_out"]["right"] == learned["left_out"]["of"] == 4
    answers = page.post("/api/predict", json={"queries": [grey(10), grey(250)]}, headers=own).json()["answers"]
    assert [answer["label"] for answer in answers] == ["dark", "light"]
    for answer in answers:
        assert answer["confidence"] == max(answer["probabilities"].values()) > 0.9
        assert answer["label"] in answer["set"]
    assert {near["example"] for near in answers[0]["nearest"][:2]} == {1, 2}
    assert [near["distance"] for near in answers[0]["nearest"]] == sorted(n["distance"] for n in answers[0]["nearest"])


def test_answers_are_those_of_the_estimator(page):
    own = begin(page)
    page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
    answer = page.post("/api/predict", json={"queries": [grey(140)], "missed": 0.3}, headers=own).json()["answers"][0]
    task = Task(PICTURES, Limits())
    x = PICTURES.inputs.fit([])([np.asarray(opened(one["content"])) for one in [*DARK, *LIGHT]])
    task_of_arrays = qs.FewShotClassifier(PICTURES.learner).fit(x.numpy(), ["dark"] * 2 + ["light"] * 2)
    query = PICTURES.inputs.fit([])([np.asarray(opened(grey(140)))]).numpy()
    np.testing.assert_allclose([*answer["probabilities"].values()], task_of_arrays.predict_proba(query)[0], rtol=1e-5)
    assert answer["set"] == task_of_arrays.classes_[task_of_arrays.predict_set(query, 0.3)[0]].tolist()
    assert answer["none_of_these"] == pytest.approx(task_of_arrays.none_of_these(query)[0])
    assert task.classifier is None


def test_a_query_is_shown_to_the_encoder_once():
    seen, encoder = [], nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
    encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    with client(Ready(qs.PrototypicalNetwork(encoder).eval(), PICTURES.inputs)) as one:
        own = begin(one)
        one.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
        for queries in ([grey(1)], [grey(1), grey(2), grey(3)]):  # for the first, the examples are looked at too
            seen.clear()
            one.post("/api/predict", json={"queries": queries}, headers=own).raise_for_status()
        assert seen == [3]


def opened(content: str):
    import base64

    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_another_example_changes_the_answer_and_forgetting_it_changes_it_back(page):
    own = begin(page)
    page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)

    def ask():
        return page.post("/api/predict", json={"queries": [grey(100)]}, headers=own).json()["answers"][0]

    before = ask()
    assert before["label"] == "dark"
    learned = page.post("/api/adapt", json={"examples": shown("middle", grey(100, 9))}, headers=own).json()
    assert ask()["label"] == "middle"
    page.post("/api/forget", json={"examples": learned["added"]}, headers=own)
    assert ask() == before


def test_a_class_of_one_example_and_a_single_class_are_said_to_tell_nothing(page):
    own = begin(page)
    one = page.post("/api/adapt", json={"examples": DARK[:1]}, headers=own).json()
    assert (one["ready"], one["left_out"]) == (False, None)
    refused = page.post("/api/predict", json={"queries": [grey(1)]}, headers=own)
    assert refused.status_code == 409
    assert "show examples of two classes" in refused.json()["detail"]
    assert page.get("/api/task", headers=own).status_code == 409
    two = page.post("/api/adapt", json={"examples": LIGHT[:1]}, headers=own).json()
    assert (two["ready"], two["left_out"]) == (True, None)


def test_an_example_whose_label_is_in_doubt_is_named(page):
    own = begin(page)
    wrong = shown("light", grey(25, 7))
    examples = [*DARK, *shown("dark", grey(24, 8)), *LIGHT, *shown("light", grey(228, 6)), *wrong]
    learned = page.post("/api/adapt", json={"examples": examples}, headers=own).json()
    assert learned["left_out"]["doubts"] == [{"example": learned["added"][-1], "label": "light", "rather": "dark"}]


def test_the_adapted_task_is_a_file_that_answers_as_the_page_does(page, tmp_path):
    own = begin(page)
    page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
    found = page.get("/api/task", headers=own)
    assert found.headers["content-disposition"] == 'attachment; filename="task.safetensors"'
    (tmp_path / "task.safetensors").write_bytes(found.content)
    task = qs.load_task(tmp_path / "task.safetensors", PICTURES.learner)
    answer = page.post("/api/predict", json={"queries": [grey(90)]}, headers=own).json()["answers"][0]
    query = PICTURES.inputs.fit([])([opened(grey(90))]).numpy()
    np.testing.assert_allclose(task.predict_proba(query)[0], [*answer["probabilities"].values()], rtol=1e-5)


def test_the_adapted_task_as_onnx_answers_as_the_page_does_and_others_are_answered_while_it_is_written(page):
    mine, other = begin(page), begin(page)
    for own in (mine, other):
        page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
    with ThreadPoolExecutor() as beside:
        exported = beside.submit(page.get, "/api/task.onnx", headers=mine)
        while not exported.running():
            time.sleep(0.01)
        asked = page.post("/api/predict", json={"queries": [grey(90)]}, headers=other).json()["answers"][0]
        second = page.get("/api/task.onnx", headers=other)
        assert not exported.done()
    assert (second.status_code, "another task is being exported" in second.json()["detail"]) == (503, True)
    found = exported.result()
    assert found.headers["content-disposition"] == 'attachment; filename="task.onnx"'
    session = onnxruntime.InferenceSession(found.content)
    query = PICTURES.inputs.fit([])([opened(grey(90))]).numpy()
    p = np.asarray(session.run(["probabilities"], {"x": query})[0])[0]
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == [*asked["probabilities"]]
    np.testing.assert_allclose(p, [*asked["probabilities"].values()], atol=1e-4)
    page.post("/api/forget", json={}, headers=mine)
    assert page.get("/api/task.onnx", headers=mine).status_code == 404


def here(net, inputs, axes, output, about, *, seconds: float) -> bytes:
    return graph(net, inputs, axes, output, about)


def exported(monkeypatch, ready: Ready, *examples: dict) -> tuple[int, str]:
    """The answer to a session that has these examples, exported within this process."""
    monkeypatch.setattr("quickstudy.page.task.graph_apart", here)
    with client(ready) as page:
        own = begin(page)
        page.post("/api/adapt", json={"examples": list(examples)}, headers=own).raise_for_status()
        found = page.get("/api/task.onnx", headers=own)
    return found.status_code, found.json()["detail"] if found.is_error else ""


def test_what_no_onnx_file_can_hold_is_told_in_a_sentence(monkeypatch):
    drawing = qs.ABML(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), inner_steps=1, samples=1).eval()
    status, why = exported(monkeypatch, Ready(drawing, PICTURES.inputs), *DARK, *LIGHT)
    assert (status, why) == (422, "what this ABML has learned cannot be exported: it draws random numbers.")
    status, why = exported(monkeypatch, PICTURES, *DARK)
    assert (status, "show examples of two classes" in why) == (409, True)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.delitem(sys.modules, "quickstudy.onnx_operators", raising=False)
    status, why = exported(monkeypatch, PICTURES, *DARK, *LIGHT)
    assert (status, "pip install 'quickstudy[onnx]'" in why) == (424, True)


def test_a_learner_of_vectors_is_exported_in_the_shape_that_it_was_shown(monkeypatch):
    assert exported(monkeypatch, TEXTS, *shown("short", "a", "ab"), *shown("long", "a longer line")) == (200, "")


def stopped(*_, **how):
    raise subprocess.TimeoutExpired("python", how["timeout"])


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (stopped, "it takes longer than 7 seconds"),
        (
            lambda *_, **how: subprocess.CompletedProcess([], 1, b"", b"Traceback\nMemoryError\n"),
            r"failed \(MemoryError",
        ),
        (lambda *_, **how: subprocess.CompletedProcess([], -9, b"", b""), r"failed \(status -9"),
        (
            lambda *_, **how: subprocess.CompletedProcess([], 0, pickle.dumps(Unexportable("it draws")), b""),
            "^it draws$",
        ),
    ],
)
def test_a_process_that_writes_no_graph_says_why(monkeypatch, run, complaint):
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(Unexportable, match=complaint):
        graph_apart(nn.Identity(), {"x": torch.zeros(1)}, {}, "y", {}, seconds=7.0)


def test_a_learner_that_another_process_cannot_be_given_is_told():
    with pytest.raises(Unexportable, match="another process cannot be given it"):
        graph_apart(type("Local", (nn.Module,), {})(), {}, {}, "y", {}, seconds=7.0)


def test_texts_are_learned_from_too():
    with client(TEXTS) as page:
        own = begin(page)
        examples = [*shown("short", "a", "ab"), *shown("long", "a much longer line", "another much longer line")]
        assert page.post("/api/adapt", json={"examples": examples}, headers=own).json()["ready"]
        answers = page.post("/api/predict", json={"queries": ["abc", "this line is long too"]}, headers=own).json()
        assert [answer["label"] for answer in answers["answers"]] == ["short", "long"]
        for text, status, why in ((" \n", 422, "query 0 is empty"), ("x" * 2001, 413, "query 0 has 2,001 characters")):
            refused = page.post("/api/predict", json={"queries": [text]}, headers=own)
            assert (refused.status_code, why in refused.json()["detail"]) == (status, True)


def test_one_session_never_sees_anothers_examples(page):
    mine, other = begin(page), begin(page)
    page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=mine)
    theirs = page.post(
        "/api/adapt", json={"examples": shown("left", grey(0)) + shown("right", grey(255))}, headers=other
    )
    assert theirs.json()["classes"] == {"left": 1, "right": 1}
    answers = page.post("/api/predict", json={"queries": [grey(1)]}, headers=other).json()["answers"]
    assert set(answers[0]["probabilities"]) == {"left", "right"}
    assert {near["label"] for near in answers[0]["nearest"]} == {"left", "right"}
    assert page.post("/api/forget", json={"examples": [3, 4]}, headers=other).status_code == 404
    page.post("/api/forget", json={}, headers=other)
    assert page.post("/api/predict", json={"queries": [grey(1)]}, headers=mine).status_code == 200
    gone = page.post("/api/predict", json={"queries": [grey(1)]}, headers=other)
    assert (gone.status_code, gone.json()["detail"][:26]) == (404, "there is no such session, ")


def test_what_an_encoder_keeps_is_one_sessions_own_and_goes_when_an_example_is_forgotten():
    class Encoder:
        def __init__(self):
            self.kept = Kept(lambda items: torch.stack([torch.full((3,), float(item)) for item in items]))

        def __call__(self, items):
            return self.kept(items, [str(item).encode() for item in items])

    encoder = Encoder()
    assert torch.equal(without_memory(encoder)([1, 2]), torch.tensor([[1.0] * 3, [2.0] * 3]))
    assert not encoder.kept.known
    task = Task(TEXTS, Limits())
    from quickstudy.page.task import Item

    task.add(["a", "b"], [Item("one", b"one"), Item("three", b"three")])
    assert len(task.encode.known) == 2
    task.forget([1])
    assert len(task.encode.known) == 1


def test_sessions_are_forgotten_when_they_have_been_still_and_their_number_is_bounded():
    now = [0.0]
    sessions = Sessions(list, Limits(sessions=2, session_seconds=10.0), clock=lambda: now[0])
    first, second = sessions.begin(), sessions.begin()
    assert first != second
    assert len(first) > 30
    with pytest.raises(Refused, match="there are 2 sessions already") as full:
        sessions.begin()
    assert full.value.status == 429
    now[0] = 8
    sessions.get(first).append("kept")
    now[0] = 12
    assert sessions.get(first) == ["kept"]
    with pytest.raises(Refused, match="there is no such session") as gone:
        sessions.get(second)
    assert gone.value.status == 404
    now[0] = 30
    sessions.sweep()
    assert not sessions.kept


def test_a_session_is_swept_away_without_another_request(monkeypatch):
    monkeypatch.setattr("quickstudy.page.app.SWEEP_SECONDS", 0.01)
    swept = []
    monkeypatch.setattr(Sessions, "sweep", lambda self: swept.append(self))
    with client():
        for _ in range(200):
            if swept:
                break
            time.sleep(0.01)
    assert swept


def test_a_learner_that_is_busy_for_too_long_is_told(page, monkeypatch):
    with client(limits=Limits(wait_seconds=0.01)) as one:
        own = begin(one)
        one.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
        monkeypatch.setattr(Task, "answers", lambda *_: one.get("/api/task", headers=own).raise_for_status())
        with pytest.raises(Exception, match="503"):
            one.post("/api/predict", json={"queries": [grey(1)]}, headers=own)


def test_what_the_learner_cannot_learn_is_told_and_changes_nothing():
    three = Ready(qs.MAML(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), inner_lr=0.1).eval(), PICTURES.inputs)
    with client(three) as page:
        own = begin(page)
        page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
        refused = page.post("/api/adapt", json={"examples": shown("middle", grey(128))}, headers=own)
        assert refused.status_code == 422
        assert "was built for 2 classes, and there are 3" in refused.json()["detail"]
        assert page.post("/api/predict", json={"queries": [grey(1)]}, headers=own).json()["answers"][0]["label"]


@pytest.mark.parametrize(("kind", "ready"), [("pictures", PICTURES), ("texts", TEXTS)])
def test_a_sample_is_a_task_to_begin_with(kind, ready):
    with client(ready) as page:
        own, found = begin(page), page.get("/api/sample").json()
        assert found == json.loads(sample(kind).model_dump_json())
        assert page.post("/api/adapt", json={"examples": found["examples"]}, headers=own).json()["ready"]
        answers = page.post("/api/predict", json={"queries": found["queries"]}, headers=own).json()["answers"]
        assert len(answers) == len(found["queries"]) == 4


@pytest.mark.parametrize(
    ("learner", "package"), [("images", "efficientnet_lite_pytorch"), ("text", "sentence_transformers")]
)
def test_a_sample_shows_a_sure_answer_a_set_of_two_and_none_of_these(learner, package):
    pytest.importorskip(package)
    ready = qs.load(learner)
    with client(ready) as page:
        own, found = begin(page), page.get("/api/sample").json()
        page.post("/api/adapt", json={"examples": found["examples"]}, headers=own).raise_for_status()
        *sure, torn, stranger = page.post("/api/predict", json={"queries": found["queries"]}, headers=own).json()[
            "answers"
        ]
    assert max(answer["confidence"] for answer in sure) > 0.75
    for answer in sure:
        assert (answer["set"], answer["strange"]) == ([answer["label"]], False)
    assert (len(torn["set"]), torn["strange"]) == (2, False)
    assert stranger["strange"]


def test_the_page_and_its_description_load_nothing_from_other_hosts(page):
    for path in ("/", "/docs", "/static/style.css", "/static/page.js", "/static/cards.js", "/static/icon.svg"):
        found = page.get(path)
        assert found.status_code == 200
        assert found.headers["content-security-policy"].startswith("default-src 'self';")
        assert "https://" not in found.text
    assert "POST /api/predict" in page.get("/docs").text
    assert page.get("/api/about").headers["cache-control"] == "no-store"


def test_a_learner_of_rows_and_a_token_that_can_be_guessed_are_refused():
    with pytest.raises(ValueError, match="the page takes pictures or texts; 'table' is a learner of rows"):
        create_app(qs.load("table"), name="table")
    with pytest.raises(ValueError, match="16 ASCII characters at least; this one has 6"):
        create_app(PICTURES, token="secret")


def serve(monkeypatch, capsys, *words: str) -> tuple[dict, str]:
    import uvicorn

    started: dict = {}

    def bound(address, family):
        started["address"] = address
        return Mock(getsockname=lambda: (address[0], address[1] or 54321))

    monkeypatch.setattr("quickstudy.commands.serve.socket.create_server", bound)
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: started.update(app=server.config.app))
    monkeypatch.setattr("quickstudy.commands.serve.opened", lambda name: PICTURES)
    monkeypatch.setattr(sys, "argv", ["quickstudy", "serve", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    return started, capsys.readouterr().out


def test_serve_binds_to_this_machine_and_elsewhere_only_with_a_token(monkeypatch, capsys):
    monkeypatch.delenv("QUICKSTUDY_TOKEN", raising=False)
    started, out = serve(monkeypatch, capsys)
    assert (started["address"], out) == (("127.0.0.1", 8000), "http://127.0.0.1:8000/\n")
    assert serve(monkeypatch, capsys, "images", "--port", "0")[1] == "http://127.0.0.1:54321/\n"
    _, out = serve(monkeypatch, capsys, "images", "--host", "0.0.0.0", "--port", "9000")
    assert len(out.split("#token=")[1].split()[0]) > 40
    assert "plain HTTP" in out
    monkeypatch.setenv("QUICKSTUDY_TOKEN", "a-secret-of-my-own")
    _, out = serve(monkeypatch, capsys)
    assert out == "http://127.0.0.1:8000/#token=a-secret-of-my-own\n"


def test_a_port_that_is_in_use_is_told(monkeypatch, capsys):
    monkeypatch.setattr("quickstudy.commands.serve.opened", lambda name: PICTURES)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["quickstudy", "serve", "--port", str(port)])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert f"nothing can listen at 127.0.0.1, port {port}" in said
    assert "pass another --port, or --host" in said


def test_the_missing_packages_are_named(monkeypatch):
    from quickstudy.commands.serve import serve_command

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"pip install 'quickstudy\[page\]'"):
        serve_command("images", "127.0.0.1", 8000, None)


def test_nothing_is_written_to_disk(page, monkeypatch, tmp_path):
    import builtins
    import os
    import tempfile

    own, real, written = begin(page), builtins.open, []

    def watched(file, mode="r", *rest, **named):
        if set(mode) & set("wax+"):
            written.append(file)
        return real(file, mode, *rest, **named)

    real_os = os.open

    def watched_os(path, flags, *rest, **named):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(path)
        return real_os(path, flags, *rest, **named)

    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(io, "open", watched)
    monkeypatch.setattr(os, "open", watched_os)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    big = grey_noise()
    assert (
        page.post("/api/adapt", json={"examples": [*DARK, *LIGHT, *shown("big", big)]}, headers=own).status_code == 200
    )
    page.post("/api/predict", json={"queries": [big]}, headers=own)
    page.get("/api/task", headers=own)
    assert written == []
    assert list(tmp_path.iterdir()) == []


def grey_noise() -> str:
    from pages import encoded
    from PIL import Image

    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 1000), dtype=np.uint8)))
