"""The benchmark of medicine at a small setting: its command, its tables and its picture."""

import json
from pathlib import Path

import pytest
import torch
from medical_files import breakhis, cells, skin
from safetensors.torch import save_file

import quickstudy as qs
from quickstudy.evaluation import episode_list

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import medicine
    import medicine_methods
    import medicine_page

    for module, name, value in (
        (medicine, "SIZE", 32),
        (medicine_methods, "SIZE", 32),
        (medicine, "WAYS", (2, 3)),
        (medicine, "SHOTS", (1, 2)),
        (medicine, "SHOWN", 2),
        (medicine, "QUERIES", 1),
        (medicine, "LEARNED", 2),
        (medicine, "ASKED", 2),
        (medicine, "JUDGED", 4),
        (medicine_page, "SHOTS", (1, 2)),
        (medicine_page, "SHOWN", 2),
    ):
        monkeypatch.setattr(module, name, value)
    for name, change in (
        ("scratch", {"sizes": (0.1, 0.01)}),
        ("pixels-protonet", {"augmentations": medicine_methods.STRONG}),
    ):
        monkeypatch.setitem(medicine.METHODS, name, medicine.METHODS[name]._replace(**change))
    return medicine


@pytest.fixture
def clinics(tmp_path) -> Path:
    """Files of the clinics' forms, with embeddings from before."""
    folder, kept = tmp_path / "data", tmp_path / "kept"
    for write in (breakhis, skin, cells):
        write(folder)
    kept.mkdir()
    generator = torch.Generator().manual_seed(0)
    for name in ("breakhis", "ham10000", "herlev"):
        parts = qs.medical(name, folder, size=16)._asdict().items()
        embeddings = {kind: torch.randn(len(part), 1280, generator=generator) for kind, part in parts}
        save_file(embeddings, kept / f"{name}.safetensors")
    return folder


@pytest.mark.usefixtures("unchecked")
def test_the_command_reproduces_the_tables(benchmark, clinics, tmp_path, capsys):
    import medicine_page as page

    names = ["nearest-centroid", "logistic", "protonet", "pixels-protonet", "scratch"]
    out = tmp_path / "results"
    words = ["run", *names, "--data-dir", str(clinics), "--kept", str(tmp_path / "kept"), "--out", str(out)]
    words += ["--steps", "2", "--episodes", "3"]
    benchmark.main(words)
    within, across = 2 * 3 * len(names), 2 * 2 * 3  # ways x clinics; across clinics two methods learn
    assert capsys.readouterr().out.count("way") == within + across
    benchmark.main(words)  # what has a result is passed over
    assert not capsys.readouterr().out
    found = {name: json.loads((out / f"medicine-{name}.json").read_text()) for name in names}
    hashes = {about["courses"]["herlev within 2-way"]["tests"]["2-shot"]["hash"] for about in found.values()}
    assert len(hashes) == 2  # the same tasks, of embeddings and of pixels
    one = found["pixels-protonet"]["courses"]["ham10000 within 3-way"]["tests"]["1-shot"]
    assert len(one["accuracy"]) == 3
    assert 0 <= one["sure"][0] <= 1
    assert 0 <= one["auc"][0] <= 1
    assert one["remembered_bytes"] == 3 * 32 * 4  # prototypes
    chosen = found["scratch"]["courses"]["ham10000 within 3-way"]["tuned"]["lr"]
    assert chosen in benchmark.METHODS["scratch"].sizes
    text = tmp_path / "page.md"
    text.write_text((BENCHMARKS.parent / "docs" / "uses" / "medicine.md").read_text())
    page.write(out, text)
    once = text.read_text()
    assert once.count("| pixels | metric | Prototypical network |") >= 4
    assert "3 tasks in each cell" in once
    page.write(out, text)
    assert text.read_text() == once


@pytest.mark.parametrize("name", ["RandomMixUpV2", "RandomCutMixV2"])
def test_a_mixed_picture_has_the_label_of_a_part_as_often_as_that_part_is_large(benchmark, name):
    import kornia.augmentation
    from medicine_methods import KEYS, mixed

    cut = name == "RandomCutMixV2"
    mix = getattr(kornia.augmentation, name)(data_keys=KEYS, **({"use_correct_lambda": True} if cut else {}))
    torch.manual_seed(0)
    shares, numbers = [], torch.arange(8)
    for _ in range(300):  # each picture all of its own channel, so that a channel's mean is a share of the picture
        x, labels = mixed(mix, tells_own=cut)(torch.eye(8).view(8, 8, 1, 1).expand(8, 8, 32, 32), numbers)
        of_label, own = (x.mean((2, 3))[numbers, which] for which in (labels, numbers))
        shares.append(of_label[own < 1])
    assert torch.cat(shares).min() > 0
    assert torch.cat(shares).mean().item() == pytest.approx(2 / 3, abs=0.02)  # of p^2 + (1 - p)^2, p uniform


def test_learning_across_clinics_sees_nothing_of_the_clinic_that_is_tested(benchmark, clinics, tmp_path):
    found = benchmark.clinics(clinics, tmp_path / "kept")
    within, across = (benchmark.course(found, "herlev", setting, pixels=True) for setting in ("within", "across"))
    assert {name.split(",")[0] for name in across.train.classes} == {"BreakHis", "HAM10000"}
    assert not set(across.train.classes) & set(across.val.classes)
    assert {name.split(",")[0] for name in across.val.classes} == {"BreakHis", "HAM10000"}
    assert set(across.train.classes) == set(within.val.classes)
    assert torch.equal(within.test.x, across.test.x)
    assert all(name.startswith("Herlev, common/") for name in within.train.classes)


def test_a_task_of_each_clinic_is_drawn(benchmark, clinics, tmp_path, monkeypatch):
    import medicine_cases

    monkeypatch.setattr(medicine_cases, "SHOTS", 1)
    monkeypatch.setattr(medicine_cases, "WAYS", 2)
    benchmark.main(
        ["cases", "--data-dir", str(clinics), "--out", str(tmp_path / "cases.png"), "--answers", str(tmp_path)]
    )
    assert (tmp_path / "cases.png").stat().st_size > 10_000
    answers = json.loads((tmp_path / "medicine-cases.json").read_text())
    assert len(answers) == 3 * 2 * 2  # clinics, classes, queries
    for one in answers:
        assert one["class"] in one["probabilities"]
        assert sum(one["probabilities"].values()) == pytest.approx(1)


def test_a_method_or_a_page_that_is_not_there_is_told(benchmark, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["run", "nothing"])
    assert "no method 'nothing'; there are nearest-centroid" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no result in .*; run python benchmarks/medicine.py run first"):
        benchmark.main(["page", "--out", str(tmp_path)])


def test_no_patient_is_both_learned_from_and_asked_about(benchmark, clinics, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(benchmark, "measured", lambda learner, tasks, *rest: asked.append(tasks) or {})
    found = benchmark.clinics(clinics, tmp_path / "kept")
    for setting in ("within", "across"):
        one = benchmark.course(found, "breakhis", setting, pixels=False)
        benchmark.tested(one, 2, 1, qs.PrototypicalNetwork(torch.nn.Identity()), 3)
        pairs = [
            (one.test, asked.pop()),
            (one.train, benchmark.tasks(one.train, 2)),
            (one.val, benchmark.tasks(one.val, 2)),
        ]
        for data, tasks in (*pairs, (one.val, benchmark.judging(one, 2, 1))):
            assert data.origins is not None
            origins = {tuple(x.tolist()): int(origin) for x, origin in zip(data.x, data.origins, strict=True)}
            for support, query in ((e.support.x[0], e.query.x[0]) for e in episode_list(tasks, 20)):
                told, about = ({origins[tuple(x.tolist())] for x in some} for some in (support, query))
                assert not told & about


def test_pictures_of_a_class_of_one_patient_count_as_of_several(benchmark):
    x, y = torch.arange(7)[:, None], torch.tensor([0, 0, 0, 1, 1, 2, 2])
    data = qs.LabelledData("few", x, y, ("a", "b", "c"), origins=torch.tensor([3, 3, 4, 5, 5, 3, 3]))
    assert benchmark.parted(data).origins.tolist() == [3, 3, 4, 6, 7, 8, 9]
