import errno
import pickle

import pytest
import torch
from learners import learner, mlp
from torch import nn

import quickstudy as qs


def test_equal_learners_make_equal_bytes(tmp_path):
    for name in ("a", "b"):
        qs.save_learner(learner("protonet"), tmp_path / name, {"steps": 1, "seed": 0})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_was_said_of_a_learner_comes_back(tmp_path):
    qs.save_learner(learner("protonet"), tmp_path / "a", {"steps": 7})
    assert qs.load_learner(learner("protonet"), tmp_path / "a") == {"steps": 7, "learner": "PrototypicalNetwork"}


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_posing_as_a_checkpoint_is_not_opened(tmp_path, protocol):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "trap").write_bytes(pickle.dumps(Trap(), protocol))
    with pytest.raises(ValueError, match="is no checkpoint of quickstudy"):
        qs.load_learner(learner("protonet"), tmp_path / "trap")
    assert not (tmp_path / "ran").exists()


def test_what_torch_save_wrote_is_named_a_pickle(tmp_path):
    torch.save(learner("protonet").state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="looks like a pickle"):
        qs.load_learner(learner("protonet"), tmp_path / "weights.pt")


def test_a_truncated_checkpoint_is_refused(tmp_path):
    qs.save_learner(learner("protonet"), tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="or a broken one"):
        qs.load_learner(learner("protonet"), tmp_path / "a")


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nothing"):
        qs.load_learner(learner("protonet"), tmp_path / "nothing")


def test_another_method_or_another_size_is_refused_and_the_learner_left_alone(tmp_path):
    qs.save_learner(learner("maml"), tmp_path / "a")
    one = learner("protonet")
    before = {k: v.clone() for k, v in one.state_dict().items()}
    with pytest.raises(ValueError, match="holds a MAML, not a PrototypicalNetwork"):
        qs.load_learner(one, tmp_path / "a")
    with pytest.raises(ValueError, match=r"'net.1.weight' has shape \[16, 256\], needed \[17, 256\]"):
        qs.load_learner(qs.MAML(mlp(256, 17, 3)), tmp_path / "a")
    assert all(torch.equal(before[k], v) for k, v in one.state_dict().items())


def test_a_learner_is_no_memory(tmp_path):
    qs.save_learner(learner("maml"), tmp_path / "a")
    with pytest.raises(ValueError, match="holds no memory"):
        qs.load_memory(tmp_path / "a")


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    message = (
        f"^{tmp_path / 'a'} cannot be written \\(No space left on device\\); make room or way for it, or name another"
    )
    with pytest.raises(OSError, match=message):
        qs.save_learner(learner("maml"), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_whose_place_or_way_something_else_stands_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError, match="/folder is a folder, and a file was to be written there; name a file"):
        qs.save_learner(learner("maml"), tmp_path / "folder")
    with pytest.raises(OSError, match="/file/a cannot be written \\(.*\\); make room or way for it, or name another"):
        qs.save_learner(learner("maml"), tmp_path / "file" / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_learner_inside_another_is_told_apart_too(tmp_path):
    def wrapped(method):
        net = torch.nn.Sequential(qs.Conv4(width=4, image_size=16, norm="task"), torch.nn.Linear(4, 3))
        return qs.TaskNormalized(method(net))

    qs.save_learner(wrapped(qs.MAML), tmp_path / "maml.safetensors")
    qs.load_learner(wrapped(qs.MAML), tmp_path / "maml.safetensors")
    with pytest.raises(ValueError, match=r"holds a TaskNormalized\(MAML\), not a TaskNormalized\(IMAML\)"):
        qs.load_learner(wrapped(qs.IMAML), tmp_path / "maml.safetensors")


def test_tied_weights_are_saved_and_are_tied_again(tmp_path):
    def tied():
        net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))
        net[2].weight = net[1].weight
        return qs.PrototypicalNetwork(net)

    one, other = tied(), tied()
    qs.save_learner(one, tmp_path / "learner.safetensors")
    qs.load_learner(other, tmp_path / "learner.safetensors")
    torch.testing.assert_close(other.state_dict(), one.state_dict(), rtol=0, atol=0)
    assert other.encoder[1].weight is other.encoder[2].weight
