import html
import io
import re
from dataclasses import replace

import matplotlib
import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

import quickstudy as qs
from quickstudy import comparison
from quickstudy.catalogue import FAMILIES, METHODS
from quickstudy.comparison import Comparison, compare
from quickstudy.report import Look, reliability_diagram, report, table

TESTS = ("unseen characters", "real digits")
SCRIPT = "<script>alert(1)</script> $x_1 [red]"


def data(seed: int, channels: int = 1) -> qs.LabelledData:
    """Images of six classes that differ in where they are bright, so that some learners do well."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(6, 1, channels, 16, 16, generator=generator)
    x = (patterns + 0.8 * torch.rand(6, 12, channels, 16, 16, generator=generator)) / 1.8
    return qs.LabelledData("toy", (255 * x.flatten(0, 1)).byte(), torch.arange(72) // 12, tuple("abcdef"))


@pytest.fixture(scope="module")
def compared() -> Comparison:
    torch.manual_seed(0)
    few = {test: qs.FewShot(data(i + 1), 3, 1, 3) for i, test in enumerate(TESTS)}
    learners = {
        "scratch": qs.FromScratch(qs.MLP(256, 8, 3), steps=1, lr=0.01),
        "protonet": qs.PrototypicalNetwork(qs.MLP(256, 16)),
        SCRIPT: qs.PrototypicalNetwork(qs.MLP(256, 4)),
    }
    shots = {TESTS[0]: {k: qs.FewShot(data(1), 3, k, 3) for k in (1, 4)}}
    training = qs.FewShot(data(0), 3, 1, 3)
    judge = qs.Validation(training, episodes=50)
    return compare(
        learners, training, few, steps=3, batch=2, validate=judge, episodes=20, shots=shots, shot_episodes=10
    )


def test_settings_and_confidence_are_fitted_on_the_validation_tasks_alone(monkeypatch):
    fitted = []
    for name in ("tune", "fit_confidence"):
        original = getattr(comparison, name)
        spy = lambda learner, tasks, original=original, **more: fitted.append(tasks) or original(learner, tasks, **more)  # noqa: E731
        monkeypatch.setattr(comparison, name, spy)
    training, judging, testing = (qs.FewShot(data(seed), 3, 1, 3) for seed in range(3))
    learners = {"protonet": qs.PrototypicalNetwork(qs.MLP(256, 4))}
    compare(learners, training, {"unseen": testing}, steps=1, batch=2, validate=judging, episodes=4, shot_episodes=4)
    assert [tasks is judging for tasks in fitted] == [True, True]


@pytest.fixture(scope="module")
def page(compared, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    report(compared, path)
    return path.read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What a reader sees, with single spaces."""
    shown = re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
    return " ".join(html.unescape(shown).split())


def shown_name(name: str) -> str:
    return METHODS[name].title if name in METHODS else name


def section_of(page: str, number: int) -> str:
    return page.split(f'<section id="test-{number}">')[1].split("</section>")[0]


def test_the_file_needs_nothing_beside_it(page):
    addresses = re.findall(r'(?:src|href|srcset|action)\s*=\s*"([^"]*)"', page)
    assert len(addresses) > 20
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"https?://|@import|url\(|<link|<script|<iframe", page)


def test_links_within_the_page_lead_somewhere(page):
    targets = re.findall(r'href="#([^"]+)"', page)
    assert len(targets) == 5
    assert set(targets) <= set(re.findall(r'\bid="([^"]+)"', page))


def test_settings_that_are_lists_are_written_as_words(compared, tmp_path):
    report(
        replace(compared, settings=compared.settings | {"methods": ["protonet", "maml"], "data": "toy"}),
        tmp_path / "report.html",
    )
    assert "methods protonet, maml data toy" in text_of((tmp_path / "report.html").read_text())


def test_every_learner_has_its_name_and_score_in_every_test(page, compared):
    for number, test in enumerate(TESTS, 1):
        shown = text_of(section_of(page, number))
        for name, entry in compared.entries.items():
            assert shown_name(name) in shown
            assert str(entry.tests[test]) in shown


@pytest.mark.parametrize("number", [1, 2])
def test_differences_are_paired_and_against_the_best(page, compared, number):
    test = TESTS[number - 1]
    best, shown = compared.best(test), text_of(section_of(page, number))
    for name, entry in compared.entries.items():
        if name != best:
            theirs = compared.entries[best].tests[test].scores["accuracy"]
            points = 100 * (entry.tests[test].scores["accuracy"] - theirs).double()
            half = 1.96 * points.std() / len(points) ** 0.5
            assert f"{points.mean():+.2f} ± {half:.2f}".replace("-", "−") in shown


@pytest.mark.parametrize("number", [1, 2])
def test_the_best_has_the_top_row_and_no_difference(page, compared, number):
    test = TESTS[number - 1]
    found = re.search(r"<tbody>(.*?)</tr>", section_of(page, number), flags=re.DOTALL)
    assert found
    best = compared.best(test)
    assert best != "scratch"  # which comes first in the comparison
    assert text_of(found[1])[2:].startswith(shown_name(best))
    assert f" {compared.entries[best].tests[test]} — " in text_of(found[1])


def test_names_are_text_and_never_markup(page):
    assert html.escape(SCRIPT, quote=False) in page
    assert SCRIPT not in page


def test_chance_the_hash_and_the_number_of_episodes_are_stated(page, compared):
    for number, test in enumerate(TESTS, 1):
        found = compared.entries["protonet"].tests[test]
        assert f'title="{found.episodes_hash}"' in section_of(page, number)
        shown = text_of(section_of(page, number))
        assert "20 episodes; guessing would be right 33.3% of the time" in shown
        assert f"Episode list: SHA-256 {found.episodes_hash[:12]}…" in shown


def test_what_a_temperature_gains_is_shown_beside_what_is_without(page, compared):
    for number, test in enumerate(TESTS, 1):
        shown = text_of(section_of(page, number))
        for entry in compared.entries.values():
            found = entry.tests[test]
            assert found.temperature == entry.temperature
            assert (
                f"calibration error {found.calibration_error:.1%}, or {found.tempered_calibration_error:.1%} at "
                f"temperature {entry.temperature:.2f}"
            ) in shown
            assert f" {found.calibration_error:.1%} {found.tempered_calibration_error:.1%} " in shown


def test_a_reliability_diagram_has_a_line_of_the_tempered_confidences_where_a_temperature_was_fitted(compared):
    found = compared.entries["protonet"].tests[TESTS[0]]
    look = Look("Prototypical network", "metric", "#336699", "o", "")
    with_it, without = (reliability_diagram(one, look) for one in (found, replace(found, tempered_bins=None)))
    assert found.tempered_bins is not None
    moved = replace(found, tempered_bins=found.tempered_bins * torch.tensor([1, 0.5, 1]))
    assert len({with_it, without, reliability_diagram(moved, look)}) == 3
    assert reliability_diagram(replace(found, bins=found.bins.flip(0)), look) != with_it


def test_families_follow_one_another_each_with_its_sentence_and_methods(page, compared):
    shown = text_of(page.split('<section id="methods">')[1].split("</section>")[0])
    places = []
    for family, name in (("metric", "protonet"), ("transfer", "scratch")):
        places += [shown.index(f"{family.capitalize()} {FAMILIES[family]}"), shown.index(METHODS[name].title)]
        score, about = compared.entries[name].tests[TESTS[0]], METHODS[name]
        assert f"{about.title} {score} {about.across} {about.remembers}" in shown
    assert places == sorted(places)
    assert "Bayesian" not in shown  # of which none was compared


def headline(comparison: Comparison, path) -> str:
    report(comparison, path)
    found = re.search(r"<h1>(.*?)</h1>", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found
    return text_of(found[1])


def rescored(comparison: Comparison, **accuracy: list[float]) -> Comparison:
    """Two learners with given accuracies on one test of four episodes."""
    test, entries = TESTS[0], {}
    for name, scores in accuracy.items():
        entry = comparison.entries[name]
        given = {"accuracy": torch.tensor(scores), "log_likelihood": torch.zeros(4)}
        entries[name] = replace(entry, tests={test: replace(entry.tests[test], scores=given)})
    return Comparison(comparison.settings, entries, {test: comparison.strip[test]})


def test_the_headline_tells_the_finding(compared, tmp_path):
    far = rescored(compared, scratch=[0.5, 0.6, 0.5, 0.6], protonet=[0.9, 0.8, 0.9, 0.8])
    assert headline(far, tmp_path / "far.html") == (
        "Prototypical network learns a 3-way 1-shot task with 85.0% ± 5.7% accuracy, 30.0 ± 11.3 points above the "
        "next, From scratch; chance is 33.3%."
    )


def test_the_headline_claims_no_difference_that_may_be_zero(compared, tmp_path):
    close = rescored(compared, scratch=[0.5, 0.9, 0.9, 0.5], protonet=[0.9, 0.6, 0.9, 0.6])
    told = headline(close, tmp_path / "close.html")
    assert "; the next, From scratch, is too close to call (5.0 ± " in told
    assert "above the next" not in told
    assert (tmp_path / "close.html").read_text(encoding="utf-8").count('<tr class="level">') == 2


def test_the_headline_claims_no_learning_at_chance(compared, tmp_path):
    none = rescored(compared, scratch=[0.3, 0.4, 0.3, 0.4])
    told = headline(none, tmp_path / "chance.html")
    assert told == (
        "No method is reliably above chance on a 3-way 1-shot task: the best, From scratch, reaches 35.0% ± 5.7%; "
        "chance is 33.3%."
    )


def test_answers_of_real_tasks_are_marked_right_or_wrong(page, compared):
    shown, episodes = section_of(page, 1), compared.strip[TESTS[0]]
    marks = re.findall(r'<span class="(right|wrong)"[^>]*>(.)', shown)
    asked = [0, 1, 3, 4, 6, 7]  # two of each class's three queries
    answers = torch.stack([entry.strip[TESTS[0]].argmax(-1) for entry in compared.entries.values()])
    right = int((answers == episodes.query.y)[:, :, asked].sum())
    assert shown.count('class="answers"') == len(episodes) == 3
    assert len(marks) == 3 * len(episodes) * len(asked)
    assert marks.count(("right", "✓")) == right
    assert marks.count(("wrong", "✗")) == len(marks) - right


def test_the_terminal_shows_the_same_numbers_and_names_as_they_are(compared):
    shown = printed(compared, 220)
    for name, entry in compared.entries.items():
        assert shown_name(name) in shown
        assert str(entry.tests[TESTS[0]]) in shown
    assert "chance 33.3%" in shown


def test_a_narrow_terminal_loses_no_character(compared):
    wide, narrow = (sorted(re.sub(r"[\s─]", "", printed(compared, width))) for width in (220, 80))
    assert narrow == wide


def printed(comparison: Comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(table(comparison, TESTS[0]))
    return capture.get()


def test_colour_pictures_and_padded_tasks_are_shown(tmp_path):
    tasks = qs.FewShot(data(0, channels=3), 3, 2, 2)
    learners = {"protonet": qs.PrototypicalNetwork(qs.MLP(768, 4))}
    found = compare(learners, tasks, {"colour": tasks}, steps=1, batch=2, episodes=4)
    episodes = found.strip["colour"]
    there = torch.ones_like(episodes.support.y, dtype=torch.bool)
    there[:, 0] = False
    found.strip["colour"] = qs.Episodes(replace(episodes.support, mask=there), episodes.query)
    report(found, tmp_path / "report.html")
    shown = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert shown.count("data:image/png") == 3 * (5 + 6)


@pytest.mark.usefixtures("unchecked")
def test_regression_leaves_out_what_only_classes_have(tmp_path):
    torch.manual_seed(0)
    learners = {
        "maml": qs.MAML(qs.MLP(1, 40, 1), inner_lr=0.01, likelihood=qs.gaussian),
        "scratch": qs.FromScratch(qs.MLP(1, 40, 1), steps=1, lr=0.01, likelihood=qs.gaussian),
    }
    sines = qs.Sinusoids()
    judge = qs.Validation(sines, episodes=50)
    found = compare(learners, sines, {"sines": sines}, steps=2, batch=2, validate=judge, episodes=10)
    report(found, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    best = found.best("sines")
    other = next(name for name in learners if name != best)
    shown, score = text_of(page), found.entries[best].tests["sines"]
    assert f"{METHODS[best].title} learns a task from 5 examples with a squared error of {score}" in shown
    assert f" {found.entries[other].tests['sines']} " in shown
    gap = found.difference(other, best, "sines")
    assert gap.mean > 0  # more error
    assert f"{gap.mean:+.3f} ± {gap.half_width:.3f}" in shown
    for absent in ("chance", "per class", "squared_error", "Calibration", "Real tasks", "ccuracy", "points"):
        assert absent not in shown
    assert "image/png" not in page
    assert "Reliability diagram" not in page


def test_one_learner_by_another_name_makes_a_report(compared, tmp_path):
    test = TESTS[1]
    alone = Comparison(compared.settings, {SCRIPT: compared.entries[SCRIPT]}, {test: compared.strip[test]})
    report(alone, tmp_path / "report.html", about={})
    shown = text_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "1 method compared" in shown
    assert "What each method learns" not in shown
    assert "the next" not in shown


def test_plots_leave_matplotlibs_settings_alone_and_repeat_bit_for_bit(compared, tmp_path):
    with matplotlib.rc_context({"font.size": 17, "svg.hashsalt": "mine"}):
        before = dict(matplotlib.rcParams)
        for name in ("one.html", "two.html"):
            report(compared, tmp_path / name)
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


class Elsewhere(Fabric):
    """A device whose tensors are those of float64: what was not moved there cannot be computed with."""

    def to_device(self, obj):
        if isinstance(obj, nn.Module):
            return obj.double()
        parts = (qs.Examples(e.x.double(), e.y, e.ways, e.classes) for e in (obj.support, obj.query))
        return qs.Episodes(*parts)


def test_every_task_goes_to_the_device_of_the_learner():
    there = Elsewhere(accelerator="cpu", devices=1)
    there.launch()
    tasks, one = qs.FewShot(data(0), 3, 1, 3), qs.MAML(qs.MLP(256, 8, 3))
    asked = {"steps": 1, "batch": 2, "episodes": 4, "shot_episodes": 4, "engine": qs.Engine(), "fabric": there}
    found = compare({"maml": one}, tasks, {"toy": tasks}, validate=qs.Validation(tasks, episodes=4), **asked)
    assert set(found.entries["maml"].strangers["toy"]) == {"softmax"}


def test_confidence_and_strangers_are_measured_on_the_device_too():
    there = Elsewhere(accelerator="cpu", devices=1)
    tasks = qs.FewShot(data(0), 3, 1, 3)
    new = lambda: qs.PrototypicalNetwork(qs.MLP(256, 8))  # noqa: E731
    assert qs.fit_confidence(new(), tasks, episodes=4, engine=qs.Engine(), fabric=there).temperature > 0
    areas = qs.strangers(new(), tasks, episodes=4, engine=qs.Engine(), fabric=there)
    assert set(areas) == {"softmax", "unlike"}
