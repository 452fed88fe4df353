import pytest
import torch
from movielens_files import written

import quickstudy as qs
from quickstudy.data.movielens import AGES, GENRES, decade
from quickstudy.data.ratings import CELLS
from quickstudy.tasks.user_ratings import MIDDLE


@pytest.fixture
def ratings(tmp_path):
    return qs.movielens(written(tmp_path / "ml-100k"))


@pytest.fixture
def split(ratings):
    return qs.cold_start(ratings, released=1996)


def test_grouplens_files_of_100k_are_read(tmp_path):
    (tmp_path / "u.data").write_text("2\t1\t4\t881250949\n1\t2\t1\t881250950\n")
    (tmp_path / "u.user").write_text("1|24|M|technician|85711\n2|17|F|artist|T8H1N\n")
    flags = ["0"] * 19
    flags[5] = flags[8] = "1"
    films = f"1|Café (1995)|01-Jan-1995||u|{'|'.join(flags)}\n2|unknown||||1{'|0' * 18}\n"
    (tmp_path / "u.item").write_bytes(films.encode("latin-1"))
    found = qs.movielens(tmp_path)
    assert (found.user.tolist(), found.item.tolist(), found.value.tolist()) == ([1, 0], [0, 1], [4.0, 1.0])
    assert (found.titles, found.years.tolist()) == (("Café", "unknown"), [1995, 0])
    assert [[GENRES[g] for g in row.nonzero().flatten()] for row in found.kinds] == [["Comedy", "Drama"], ["unknown"]]
    assert found.users.tolist() == [[2, 2, 2, 1], [1, 1, 1, 2]]  # gender, age, occupation, region; from 1
    assert found.codes == (3, 9, 3, 3, 3, 3)


def test_recboles_files_are_read_to_the_same(tmp_path):
    (tmp_path / "ml-100k.inter").write_text("user_id:token\titem_id:token\trating:float\ttime\n2\t1\t4\t8\n")
    (tmp_path / "ml-100k.user").write_text("user_id:token\tage\tgender\tdoes\tzip\n1\t24\tM\tx\t8\n2\t17\tF\ty\tT\n")
    (tmp_path / "ml-100k.item").write_text(
        "item_id:token\ttitle\tyear\tclass\n1\tBatman & Robin\t1997\tAction Crime\n2\tOdd (1994)\tV\tunknown\n"
    )
    found = qs.movielens(tmp_path)
    assert (found.user.tolist(), found.item.tolist(), found.value.tolist()) == ([1], [0], [4.0])
    assert (found.titles, found.years.tolist()) == (("Batman & Robin", "Odd"), [1997, 1994])
    assert [GENRES[g] for g in found.kinds[0].nonzero().flatten()] == ["Action", "Crime"]


def test_files_of_1m_are_read(tmp_path):
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ratings.dat").write_text("1::3::5::978300760\n")
    (tmp_path / "ml-1m" / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    (tmp_path / "ml-1m" / "movies.dat").write_bytes("3::Misérables, Les (1998)::Drama|Musical\n".encode("latin-1"))
    found = qs.movielens(tmp_path, "1m")
    assert (found.name, found.titles, found.years.tolist()) == ("MovieLens-1m", ("Misérables, Les",), [1998])
    assert (found.item.tolist(), found.value.tolist()) == ([0], [5.0])
    assert found.users[:, 1].tolist() == [1, 2]  # the first and the last group of ages
    assert int(found.kinds.sum()) == 2


def test_what_is_no_movielens_is_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="100k is not in .*needed are u.data, u.user, u.item or ml-100k"):
        qs.movielens(tmp_path)
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="not in any folder, as none was named.*Unpack ml-1m.zip"):
        qs.movielens(size="1m")
    with pytest.raises(ValueError, match="the size of MovieLens is one of 100k, 1m; not '20m'"):
        qs.movielens(tmp_path, "20m")
    folder = written(tmp_path / "a")
    (folder / "u.data").write_text("1\t9999\t4\t8\n")
    with pytest.raises(ValueError, match=r"but not as MovieLens has them \(KeyError: '9999'\). Unpack them again"):
        qs.movielens(folder)
    (folder / "u.data").write_text("1\t1\tnan\t8\n")
    with pytest.raises(ValueError, match=r"but not as MovieLens has them \(ValueError: a rating of nan\)"):
        qs.movielens(folder)
    (folder / "u.data").write_text("")
    with pytest.raises(ValueError, match=r"but not as MovieLens has them \(ValueError: not enough values"):
        qs.movielens(folder)


def test_decades_and_ages_have_a_first_and_a_last():
    assert [decade(year) for year in (0, 1899, 1925, 1934, 1989, 1990, 2000)] == [0, 1, 1, 2, 7, 8, 8]
    assert AGES == (18, 25, 35, 45, 50, 56)


def test_new_users_and_new_items_were_never_trained_on(split, ratings):
    trained_users, trained_items = set(ratings.user[split.train].tolist()), set(ratings.item[split.train].tolist())
    chosen = set(ratings.user[split.validation].tolist())
    assert not trained_users & chosen
    for cell, tests in split.tests.items():
        users, rows = {one.user for one in tests}, torch.cat([torch.cat([one.support, one.query]) for one in tests])
        assert ("new users" in cell) == (not users & trained_users)
        assert not users & chosen
        assert ("new items" in cell) == (not set(ratings.item[rows].tolist()) & trained_items)
        assert bool((ratings.years[ratings.item[rows]] >= 1996).all()) == ("new items" in cell)
    assert split.known.nonzero().flatten().tolist() == sorted(trained_items)


def test_what_is_asked_of_existing_users_is_not_trained_on(split):
    train = set(split.train.tolist())
    for one in split.tests[CELLS[0]]:
        assert not train & set(one.query.tolist())
        assert train >= set(one.support.tolist())


def test_a_test_asks_for_ten_ratings_of_users_who_have_13_to_100(split, ratings):
    for tests in split.tests.values():
        for one in tests:
            assert len(one.query) == 10
            assert 3 <= len(one.support) <= 90
            assert set(ratings.user[torch.cat([one.support, one.query])].tolist()) == {one.user}


def test_every_user_is_new_in_one_fold_and_asked_the_same_in_all(ratings):
    folds = [qs.cold_start(ratings, released=1996, fold=fold) for fold in range(5)]
    new = [one.user for split in folds for one in split.tests[CELLS[1]]]
    assert len(new) == len(set(new)) > 30
    mine, other = ({one.user: one.query for one in folds[n].tests[CELLS[1 - n]]} for n in (0, 1))
    shared = mine.keys() & other.keys()
    assert len(shared) > 3
    assert all(torch.equal(mine[user], other[user]) for user in shared)


def test_who_is_for_validation_is_so_in_every_fold(ratings):
    folds = [qs.cold_start(ratings, released=1996, fold=fold) for fold in range(5)]
    chosen = [set(ratings.user[split.validation].tolist()) for split in folds]
    assert all(users == chosen[0] for users in chosen)
    assert len(chosen[0]) > 3
    tested = {one.user for split in folds for tests in split.tests.values() for one in tests}
    assert not tested & chosen[0]


def test_more_draws_ask_a_user_for_other_ratings_but_where_what_is_asked_for_is_not_trained_on(ratings):
    once, often = (qs.cold_start(ratings, released=1996, draws=draws) for draws in (1, 4))
    for cell in CELLS:
        draws = 1 if cell == CELLS[0] else 4
        assert [one.user for one in often.tests[cell]] == [one.user for one in once.tests[cell] for _ in range(draws)]
        for first, drawn in zip(once.tests[cell], often.tests[cell][::draws], strict=True):
            assert torch.equal(first.query, drawn.query)
    asked = [tuple(sorted(one.query.tolist())) for one in often.tests[CELLS[1]][:4]]
    assert len(set(asked)) == 4
    assert torch.equal(once.train, often.train)


def test_a_split_that_cannot_be_is_refused(ratings):
    with pytest.raises(ValueError, match="fold is one of 0 to 4, of 5 folds; not 5"):
        qs.cold_start(ratings, released=1996, fold=5)
    with pytest.raises(ValueError, match="no user of MovieLens-100k has 13 to 100 ratings for the cell 'existing u"):
        qs.cold_start(ratings, released=2030)


def test_a_task_is_one_users_ratings_and_its_padding_is_masked(split, ratings):
    tasks = qs.UserRatings(ratings, split.train, split.known)
    episodes = tasks.sample(6, torch.Generator().manual_seed(0))
    assert isinstance(tasks, qs.Tasks)
    assert episodes.query.mask is not None
    assert bool(episodes.query.mask.all())
    assert episodes.support.mask is not None
    assert not bool(episodes.support.mask.all())
    values = {
        (user + 1, item + 1): value
        for user, item, value in zip(ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist(), strict=True)
    }
    for part in (episodes.support, episodes.query):
        for x, y, mask in zip(part.x, part.y, part.mask, strict=True):  # pyright: ignore[reportArgumentType]
            people = [u for u in range(len(ratings.users)) if torch.equal(ratings.users[u], x[0, 2:6])]
            items = (x[mask][:, 0]).tolist()
            assert any(
                all(values.get((u + 1, item)) == target + MIDDLE for item, target in zip(items, y[mask, 0].tolist()))  # noqa: B905
                for u in people
            )


def test_a_batch_is_a_function_of_the_generator_alone(split, ratings):
    tasks = qs.UserRatings(ratings, split.train, split.known, hidden=0.5, fewer=True)
    one, other = (tasks.sample(4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.support.x, other.support.x)
    assert torch.equal(one.query.y, other.query.y)


def test_hidden_items_are_met_without_their_identity_as_unknown_ones_are(split, ratings):
    tasks = qs.UserRatings(ratings, split.train, split.known, hidden=1.0)
    assert not tasks.sample(4, torch.Generator().manual_seed(0)).query.x[..., 0].any()
    new = qs.UserRatings(ratings, split.train, split.known).of(split.tests[CELLS[3]]).support
    assert new.mask is not None
    assert not new.x[new.mask][:, 0].any()
    assert new.x[new.mask][:, 6:].any()  # but their genres are told
    existing = qs.UserRatings(ratings, split.train, split.known).of(split.tests[CELLS[0]]).support
    assert existing.mask is not None
    assert bool(existing.x[existing.mask][:, 0].all())


def test_anonymous_users_have_no_features(split, ratings):
    x = qs.UserRatings(ratings, split.train, split.known, anonymous=True).of(split.tests[CELLS[0]]).query.x
    assert not x[..., 2:6].any()
    assert x[..., 1].any()


def test_fewer_ratings_are_told_and_all_others_asked_for(split, ratings):
    tasks = qs.UserRatings(ratings, split.train, split.known, fewer=True)
    counts = {user: len(own) for user, own in tasks.users}
    episodes = tasks.sample(50, torch.Generator().manual_seed(0))
    told, asked = (part.mask.sum(1) for part in (episodes.support, episodes.query))  # pyright: ignore[reportOptionalMemberAccess]
    assert set((told + asked).tolist()) <= set(counts.values())
    assert int(told.min()) < 5
    assert int(told.min()) >= 1
    assert int(asked.min()) >= 10


def test_tasks_that_cannot_be_are_refused(split, ratings):
    with pytest.raises(ValueError, match="hidden is a share of tasks, from 0 to 1; not 2"):
        qs.UserRatings(ratings, split.train, split.known, hidden=2.0)
    with pytest.raises(ValueError, match="no user has the 13 ratings that a task needs; the 5 ratings are too few"):
        qs.UserRatings(ratings, split.train[:5], split.known)


def test_what_is_unknown_is_embedded_as_zero_and_flags_are_averaged():
    encoder = qs.RatingEncoder((3, 4), flags=3, d=2)
    assert encoder.out_features == 6
    z = encoder(torch.tensor([[0, 1, 1, 0, 1], [2, 0, 0, 0, 0]]))
    assert z[0, :2].tolist() == z[1, 2:].tolist()[:2] == [0, 0]
    torch.testing.assert_close(z[0, 2:4], encoder.embeddings[1].weight[1])  # pyright: ignore[reportIndexIssue]
    torch.testing.assert_close(z[0, 4:], encoder.flags.weight[:, [0, 2]].mean(1))
    assert z[1, 4:].tolist() == [0, 0]


def test_a_meta_learner_of_users_learns_what_is_in_their_ratings(split, ratings):
    torch.manual_seed(0)
    encoder = qs.RatingEncoder(ratings.codes, len(ratings.kind_names), d=8)
    learner = qs.NeuralProcess(encoder, targets=1, hidden=32)
    tasks = qs.UserRatings(ratings, split.train, split.known, fewer=True)
    test = tasks.of(split.tests[CELLS[1]])

    @torch.no_grad()
    def error() -> float:
        predicted = learner.predict(learner.adapt(test.support), test.query.x)
        return float((predicted.mean - test.query.y).abs().mean())

    before = error()
    optimizer = torch.optim.Adam(learner.parameters(), 0.01)
    for _ in qs.train(learner, tasks, steps=150, batch=8, optimizer=optimizer, engine=qs.Engine(chunk=None)):
        pass
    assert error() < 0.6 * before
