import html
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from learners import toy_data
from PIL import Image

from quickstudy import cli
from quickstudy.catalogue import ENCODERS, FAMILIES, METHODS
from quickstudy.checkpoint import load_tensors
from quickstudy.commands import options
from quickstudy.commands import train as commands_train
from quickstudy.encoders.conv4 import Conv4
from quickstudy.methods.transfer.fine_tune import FineTune
from quickstudy.runs import begin, describe, open_run

TINY = ["--image-size", "16", "--steps", "3", "--batch", "2", "--queries", "2", "--validation-episodes", "4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Twelve classes of ten 16x16 pictures."""
    root, data = tmp_path_factory.mktemp("pictures"), toy_data(12, 10)
    for i, (picture, label) in enumerate(zip(data.x, data.y, strict=True)):
        path = root / data.classes[label] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture[0].numpy()).save(path)
    return root


def quickstudy(monkeypatch, capfd, *arguments) -> tuple[int, str, str]:
    """Runs the command line; its exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["quickstudy", *map(str, arguments)])
    for module in (options, commands_train):
        monkeypatch.setattr(module, "keep_freed_memory", lambda: True)  # not for the whole test process
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def refused(monkeypatch, capfd, folder: Path, *arguments) -> str:
    """The one-line error of a command that exits with 2 and leaves nothing behind in the folder."""
    before = sorted(folder.rglob("*"))
    code, _, error = quickstudy(monkeypatch, capfd, *arguments)
    assert code == 2
    assert error.startswith("quickstudy: ")
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return error


def train(monkeypatch, capfd, folder, out, method="protonet", *more):
    return quickstudy(monkeypatch, capfd, "train", method, "--data", folder, "--ways", 2, "--out", out, *TINY, *more)


def test_the_version_is_the_packages(monkeypatch, capfd):
    assert quickstudy(monkeypatch, capfd, "--version")[:2] == (0, f"quickstudy {version('quickstudy')}\n")


def test_train_evaluate_and_the_files_they_leave(monkeypatch, capfd, folder, tmp_path):
    code, text, error = train(monkeypatch, capfd, folder, tmp_path / "run")
    assert code == 0, error
    assert "trained Prototypical network, meta-validation accuracy" in text
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "last.safetensors",
        "learner.safetensors",
        "run.json",
    ]
    scores = tmp_path / "scores.json"
    code, text, error = quickstudy(
        monkeypatch, capfd, "evaluate", tmp_path / "run", "--episodes", 12, "--queries", 3, "--json", scores
    )
    assert code == 0, error
    found = json.loads(scores.read_text())
    assert len(found["scores"]["accuracy"]) == 12
    assert f"{found['mean']:.2%} ± {found['half_width']:.2%}" in text
    assert "2-way 1-shot" in text
    code, text, error = quickstudy(monkeypatch, capfd, "evaluate", tmp_path / "run", "--episodes", 2)
    assert code == 0, error  # classes have too few pictures for 15 queries
    assert "ways is a number of at least 2" in refused(
        monkeypatch, capfd, tmp_path, "evaluate", tmp_path / "run", "--ways", 0
    )


def test_a_step_size_that_was_chosen_is_kept_with_the_run(monkeypatch, capfd, folder, tmp_path):
    monkeypatch.setattr(FineTune, "choices", {"lr": (1e9, 0.2)})  # the first diverges
    code, text, error = train(monkeypatch, capfd, folder, tmp_path / "run", "fine-tune")
    assert code == 0, error
    assert ", lr 0.2 chosen on validation tasks: " in text
    methods = ["--methods", "fine-tune", "--ways", 2, "--episodes", 6]
    code, _, error = quickstudy(
        monkeypatch, capfd, "compare", "--data", folder, *methods, *TINY, "--out", tmp_path / "out"
    )
    assert code == 0, error
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["learners"]["fine-tune"]["tuned"] == {"lr": 0.2}
    assert "lr = 0.2, chosen on validation tasks" in (tmp_path / "out" / "report.html").read_text()
    for run in (tmp_path / "run", tmp_path / "out" / "fine-tune"):
        assert open_run(run)[0].lr == 0.2


def test_compare_writes_a_report_and_every_score(monkeypatch, capfd, folder, tmp_path):
    out, names = tmp_path / "out", ["protonet", "maml", "scratch"]
    command = [
        "compare",
        "--data",
        folder,
        "--methods",
        ",".join(names),
        "--ways",
        2,
        "--episodes",
        6,
        *TINY,
        "--seed",
        1,
        "--out",
        out,
    ]
    code, text, error = quickstudy(monkeypatch, capfd, *command)
    assert code == 0, error
    found = json.loads((out / "results.json").read_text())
    assert list(found["learners"]) == names
    for name in names:
        test = found["learners"][name]["tests"]["unseen classes"]
        assert len(test["scores"]["accuracy"]) == 6
        assert METHODS[name].title in (out / "report.html").read_text()
        assert METHODS[name].title.split()[0] in text
    assert re.fullmatch("[0-9a-f]{64}", found["tests"]["unseen classes"]["episodes_hash"])
    assert str(out / "report.html") in text.replace("\n", "")
    for name in names:  # the same episodes and the same learner, were it never trained
        again = ["evaluate", out / name, "--episodes", 6, "--queries", 9, "--seed", 1]
        code, text, error = quickstudy(monkeypatch, capfd, *again)
        assert code == 0, error
        expected = found["learners"][name]["tests"]["unseen classes"]
        assert f"{expected['mean']:.2%} ± {expected['half_width']:.2%}" in text


@pytest.mark.usefixtures("unchecked")
def test_all_methods_are_compared_in_one_report_family_by_family(monkeypatch, capfd, folder, tmp_path):
    small = lambda channels, size, norm: Conv4(channels, 8, image_size=size, downsample="stride", norm=norm)  # noqa: E731
    monkeypatch.setitem(ENCODERS, "conv4-strided", small)
    out, few = tmp_path / "out", ["--steps", 1, "--episodes", 4, "--engine", "loop"]
    tiny = ["compare", "--methods", "all", "--data", folder, "--ways", 2, *TINY, *few, "--out", out]
    code, _, error = quickstudy(monkeypatch, capfd, *tiny)
    assert code == 0, error
    found = json.loads((out / "results.json").read_text())
    assert list(found["learners"]) == list(METHODS)
    page = html.unescape((out / "report.html").read_text())
    _, *sections = page.split('<section id="methods">')[1].split("</section>")[0].split('<tr class="family">')
    for (family, sentence), section in zip(FAMILIES.items(), sections, strict=True):
        assert sentence in section
        for about in METHODS.values():
            shown = f"<td>{about.across}</td><td>{about.remembers}" in section
            assert shown == (about.family == family)


def test_a_run_of_other_settings_or_one_that_is_there_is_not_overwritten(monkeypatch, capfd, folder, tmp_path):
    out = tmp_path / "run"
    assert train(monkeypatch, capfd, folder, out)[0] == 0
    again = ["train", "protonet", "--data", folder, "--ways", 2, "--out", out, *TINY]
    assert "is not empty. Pass --resume" in refused(monkeypatch, capfd, tmp_path, *again)
    other = refused(monkeypatch, capfd, tmp_path, *again, "--resume", "--seed", 5)
    assert "holds a run with seed 0, not 5" in other
    assert quickstudy(monkeypatch, capfd, *again, "--resume")[0] == 0


def test_a_folder_of_something_else_is_no_run_and_one_of_leftovers_is_empty(tmp_path):
    (tmp_path / ".DS_Store").touch()
    begin(tmp_path / "run", {"seed": 0}, resume=False)
    with pytest.raises(ValueError, match="is not empty. Name another folder.$"):
        begin(tmp_path, {"seed": 0}, resume=False)
    with pytest.raises(ValueError, match="holds run, and no run to go on with. Name the folder of one, or another.$"):
        begin(tmp_path, {"seed": 0}, resume=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    begin(tmp_path / "empty", {"seed": 0}, resume=False)
    with pytest.raises(FileNotFoundError, match="no run in .*run.json: it is a file"):
        describe(tmp_path / "run" / "run.json")


@pytest.mark.parametrize(
    ("command", "place"), [("train", "quickstudy.commands.train.tune"), ("compare", "quickstudy.comparison.evaluate")]
)
def test_ctrl_c_once_training_is_over_says_how_to_go_on_too(monkeypatch, capfd, folder, tmp_path, command, place):
    method = ["protonet"] if command == "train" else ["--methods", "protonet", "--episodes", 6]
    about = [command, *method, "--data", folder, "--ways", 2, "--out", tmp_path / "run", *TINY]
    before = signal.getsignal(signal.SIGINT)

    def interrupted(*_, **__):
        assert signal.getsignal(signal.SIGINT) is before  # nothing waits for the end of a step any more
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(place, interrupted)
        code, _, error = quickstudy(patched, capfd, *about)
    assert code == 130
    assert "stopped; what was trained is kept. Go on with: quickstudy " + command in error
    assert quickstudy(monkeypatch, capfd, *about, "--resume")[0] == 0


def test_wrong_input_is_one_line_and_leaves_nothing(monkeypatch, capfd, folder, tmp_path):
    def error(*arguments):
        return refused(monkeypatch, capfd, tmp_path, *arguments)

    out = ["--out", tmp_path / "run"]
    assert "no method 'mamal'; there are protonet, matching" in error("train", "mamal", *out)
    assert "no method 'all'" in error("train", "all", *out)
    assert "no method 'x'" in error("compare", "--methods", "protonet,x", *out)
    assert "nor an .arrow file, nor one of glyphs" in error("train", "maml", "--data", tmp_path / "none", *out)
    assert "no such folder" in error("train", "maml", "--data", "omniglot", "--data-dir", tmp_path / "none", *out)
    assert "9-way tasks need 9 classes" in error("train", "maml", "--data", folder, "--ways", 9, *out)
    few = error("train", "maml", "--data", folder, "--ways", 2, "--queries", 15, *out)
    assert re.search(r"need 16 examples per class; '[a-l]' of", few)
    assert "no encoder 'vgg'" in error("train", "maml", "--encoder", "vgg", *out)
    assert "no run in" in (gone := error("evaluate", tmp_path / "run"))
    assert "run: no such folder." in gone
    assert "no action 'delete'" in error("data", "delete")
    assert "which data to check?" in error("data", "check")


@pytest.mark.parametrize(
    ("command", "option", "value", "message"),
    [
        ("train", "--devices", 0, "--devices is at least 1, not 0."),
        ("train", "--steps", 0, "--steps is at least 1, not 0."),
        ("train", "--batch", -2, "--batch is at least 1, not -2."),
        ("train", "--lr", "nan", "--lr is at least 0, not nan."),
        ("train", "--validation-episodes", 1, "--validation-episodes is at least 2, not 1."),
        ("train", "--image-size", 0, "--image-size is at least 1, not 0."),
        ("train", "--devices", 3, "--batch 16 cannot be shared out evenly over 3 processes."),
        ("train", "--engine", "loop:1:2:3", "--engine is auto or STRATEGY:CHUNK:WORKERS, such as loop:1:2; not"),
        ("compare", "--episodes", 1, "--episodes is at least 2, not 1."),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_before_anything_is_written(
    monkeypatch, capfd, folder, tmp_path, command, option, value, message
):
    about = ["--data", folder, "--ways", 2, "--queries", 2, "--out", tmp_path / "run"]
    method = ["protonet"] if command == "train" else []
    assert message in refused(monkeypatch, capfd, tmp_path, command, *method, *about, option, value)


@pytest.mark.parametrize(
    ("port", "message"), [(-1, "--port is at least 0"), (99999, "--port is at most 65535, not 99999")]
)
def test_a_port_that_is_none_is_refused(monkeypatch, capfd, tmp_path, port, message):
    assert message in refused(monkeypatch, capfd, tmp_path, "serve", "handwriting", "--port", port)


def test_a_comparison_whose_test_classes_do_not_suffice_is_refused_before_it_trains(monkeypatch, capfd, tmp_path):
    for part, classes in (("train", "abcdef"), ("val", "ghi"), ("test", "jk")):
        for name in classes:
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("L", (16, 16)).save(tmp_path / "data" / part / name / f"{i}.png")
    command = ["compare", "--data", tmp_path / "data", "--ways", 3, "--queries", 2, "--out", tmp_path / "run"]
    assert "3-way tasks need 3 classes" in refused(monkeypatch, capfd, tmp_path, *command)


def test_a_class_that_is_too_small_or_a_file_that_is_no_picture_is_named(monkeypatch, capfd, folder, tmp_path):
    data, out = tmp_path / "data", tmp_path / "run"
    for name in ("ant", "bee", "cow", "dog", "elk"):
        (data / name).mkdir(parents=True)
        Image.new("L", (16, 16)).save(data / name / "1.png")
    command = ["train", "protonet", "--data", data, "--ways", 2, "--out", out]
    assert re.search(
        "examples per class; '(ant|bee|cow|dog|elk)' of data (train|val) has 1",
        refused(monkeypatch, capfd, tmp_path, *command),
    )
    (data / "cow" / "2.png").write_text("moo")
    assert "cow/2.png is not a readable picture" in refused(monkeypatch, capfd, tmp_path, *command)


def test_a_truncated_zip_is_named(monkeypatch, capfd, tmp_path):
    for name in ("images_background.zip", "images_evaluation.zip"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and no more")
    error = refused(monkeypatch, capfd, tmp_path, "data", "check", "omniglot", "--data-dir", tmp_path)
    assert "images_background.zip is not a whole zip file" in error


def test_a_checkpoint_of_another_method_or_a_pickle_is_refused(monkeypatch, capfd, folder, tmp_path):
    for method in ("protonet", "maml"):
        assert train(monkeypatch, capfd, folder, tmp_path / method, method)[0] == 0
    weights = tmp_path / "protonet" / "learner.safetensors"
    weights.write_bytes((tmp_path / "maml" / "learner.safetensors").read_bytes())
    assert "holds a TaskNormalized(MAML), not a PrototypicalNetwork" in refused(
        monkeypatch, capfd, tmp_path, "evaluate", tmp_path / "protonet"
    )
    weights.write_bytes(pickle.dumps({"encoder": torch.zeros(2)}))
    assert "looks like a pickle" in refused(monkeypatch, capfd, tmp_path, "evaluate", tmp_path / "protonet")
    weights.unlink()
    assert "has not ended; go on with it by --resume" in refused(
        monkeypatch, capfd, tmp_path, "evaluate", tmp_path / "protonet"
    )


def test_data_lists_and_checks(monkeypatch, capfd, folder):
    assert "omniglot" in quickstudy(monkeypatch, capfd, "data", "list")[1]
    code, text, _ = quickstudy(monkeypatch, capfd, "data", "check", folder)
    assert code == 0
    assert "3x84x84" in text


@pytest.mark.parametrize("command", [[], ["compare"], ["train"], ["evaluate"], ["data"]])
def test_help_names_every_choice(monkeypatch, capfd, command):
    code, text, _ = quickstudy(monkeypatch, capfd, *command, "--help")
    assert code == 0
    assert len(text) > 300


def test_a_wrong_option_is_exit_code_2(monkeypatch, capfd):
    assert quickstudy(monkeypatch, capfd, "train", "maml", "--wayz", "3")[0] == 2


def spawn(folder: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "quickstudy", "train", "protonet", "--data", folder, "--ways", 2, "--out", out]
    command += ["--steps", 400, "--batch", 2, "--queries", 2, "--image-size", 16, "--validation-episodes", 4, *more]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(folder, tmp_path):
    run = spawn(folder, tmp_path / "run", "--checkpoint-seconds", "0.01")
    wait_for(tmp_path / "run" / "last.safetensors")
    run.send_signal(signal.SIGINT)
    error = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    step = int(re.search(r"stopped protonet after step (\d+) of 400", error)[1])
    assert load_tensors(tmp_path / "run" / "last.safetensors")[1]["step"] == step
    assert re.search(r"Go on with: quickstudy train protonet .*--resume", error)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes the way Linux lists them")
def test_a_process_that_dies_stops_the_run_which_one_process_then_ends_as_it_would_have(folder, tmp_path):
    pair = ["--devices", "2", "--batch", "2", "--steps", "60", "--checkpoint-seconds", "0"]
    finish(spawn(folder, tmp_path / "whole", *pair))
    run = spawn(folder, tmp_path / "run", *pair)
    wait_for(tmp_path / "run" / "last.safetensors")
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    error = run.communicate(timeout=30)[1]
    assert run.returncode == 1
    assert "quickstudy: another process of this run has stopped, so process 0 stops too (" in error
    assert re.search(r"Go on with: quickstudy train protonet .*--resume", error)
    step = load_tensors(tmp_path / "run" / "last.safetensors")[1]["step"]
    assert step < 60
    alone = ["--batch", "2", "--steps", "60", "--resume"]
    finish(spawn(folder, tmp_path / "run", *alone))
    finish(spawn(folder, tmp_path / "whole", *alone))  # has ended already, as two processes
    one, two = (load_tensors(tmp_path / which / "last.safetensors")[1]["curve"] for which in ("whole", "run"))
    assert [row[0] for row in one] == [row[0] for row in two] == list(range(1, 61))
    torch.testing.assert_close(*(torch.tensor([row[1] for row in curve]) for curve in (one, two)), rtol=0.02, atol=0.02)


def finish(run: subprocess.Popen) -> None:
    error = run.communicate(timeout=120)[1]
    assert run.returncode == 0, error


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_resumed_comparison_has_the_same_pictures_and_as_many_validation_tasks(monkeypatch, capfd, folder, tmp_path):
    about = [
        "compare",
        "--data",
        folder,
        "--methods",
        "protonet",
        "--ways",
        2,
        "--episodes",
        6,
        "--out",
        tmp_path / "out",
    ]
    assert quickstudy(monkeypatch, capfd, *about, *TINY)[0] == 0
    for option, value, name in (("--image-size", 20, "size"), ("--validation-episodes", 5, "validation_episodes")):
        again = [*about, *TINY, "--resume", option, value]
        assert f"holds a run with {name}" in refused(monkeypatch, capfd, tmp_path, *again)


def test_pictures_of_another_size_are_refused_wherever_they_come_from(monkeypatch, capfd, folder, tmp_path):
    packed = tmp_path / "packed.arrow"
    assert quickstudy(monkeypatch, capfd, "data", "pack", folder, "--out", packed, "--image-size", 20)[0] == 0
    assert train(monkeypatch, capfd, folder, tmp_path / "run")[0] == 0
    for other, said in (
        (packed, "has colour pictures of 20 pixels, not 3 x 16"),
        ("digits", "grey pictures of 28 pixels"),
    ):
        assert said in refused(monkeypatch, capfd, tmp_path, "evaluate", tmp_path / "run", "--data", other)


def test_few_classes_are_packed_too(monkeypatch, capfd, folder, tmp_path):
    few = tmp_path / "few"
    for name in "ab":
        shutil.copytree(folder / name, few / name)
    code, text, error = quickstudy(monkeypatch, capfd, "data", "pack", few, "--out", tmp_path / "few.arrow")
    assert code == 0, error
    assert re.search(r"few +2 +20 +10 +3x84x84", text)


def test_files_are_not_written_over_what_was_learned_from(monkeypatch, capfd, tmp_path):
    (tmp_path / "few.csv").write_text("a,kind\n1,x\n2,y\n")
    again = ["adapt", "table", tmp_path / "few.csv", "--out", tmp_path / "few.csv"]
    assert "holds the labelled examples; name another file by --out" in refused(monkeypatch, capfd, tmp_path, *again)
    assert (tmp_path / "few.csv").read_text().startswith("a,kind")
