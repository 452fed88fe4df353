"""The medical pictures, in files of the form that the clinics' have."""

import shutil
from dataclasses import replace

import pytest
import torch
from medical_files import breakhis, cells, picture, skin, zipped

import quickstudy as qs
from quickstudy.data.medical import SOURCES


def test_common_and_rare_classes_are_of_one_rule_in_both_forms_of_a_source(tmp_path):
    official = qs.medical("breakhis", breakhis(tmp_path / "official"), size=16)
    packed = breakhis(tmp_path / "packed", official=False)
    zipped(packed / "breakhis200x", packed / "breakhis200x_224.zip")
    for found in (official, qs.medical("breakhis", packed, size=16)):
        assert found.rare.classes == ("papillary_carcinoma", "fibroadenoma", "tubular_adenoma")
        assert found.common.classes == ("ductal_carcinoma", "lobular_carcinoma", "adenosis")  # of one patient
        assert found.common.counts.tolist() == [30, 5, 4]
        assert len(found.rare.origins.unique()) == 12
        assert found.rare.x.shape == (12 + 2 * 17, 3, 16, 16)
    assert "phyllodes_tumor" not in official.common.classes  # whose one patient, of other letters, has a rare one
    assert torch.equal(official.rare.y, qs.medical("breakhis", packed, size=16).rare.y)


def test_a_lesion_seen_twice_is_one_origin(tmp_path):
    found = qs.medical("ham10000", skin(tmp_path), size=16)
    assert found.rare.classes == ("df", "vasc", "akiec")
    assert found.rare.origins.unique().tolist() == sorted(set(found.rare.origins.tolist()))
    assert torch.bincount(found.rare.origins)[found.rare.origins].unique().tolist() == [2]
    qs.FewShot(found.rare, 3, 2, 2, apart=True).sample(4, torch.Generator())


def test_a_picture_that_lies_in_two_folders_is_read_once(tmp_path):
    folder = skin(tmp_path / "HAM10000")
    (folder / "HAM10000_metadata.csv").rename(tmp_path / "HAM10000_metadata.csv")
    once = qs.medical("ham10000", tmp_path, size=16)
    shutil.copytree(folder / "HAM10000_images_part_1", folder / "ham10000_images_part_1")
    picture(folder / "__MACOSX" / "._ISIC_0000000.jpg")
    assert [len(part) for part in qs.medical("ham10000", tmp_path, size=16)] == [len(part) for part in once]


def test_cells_of_one_photograph_are_one_origin_and_segmentations_are_no_pictures(tmp_path):
    (tmp_path / "medical").mkdir()
    found = qs.medical("herlev", cells(tmp_path / "medical").parent, size=16)
    assert found.common.counts.tolist() == [12, 11, 10, 6]  # the last from three photographs alone
    assert found.rare.classes == ("normal_columnar", "normal_intermediate", "normal_superficiel")
    for part in found:
        assert [len(part.origins[part.y == c].unique()) for c in range(len(part.classes))] == [
            -(-count // 2) for count in part.counts.tolist()
        ]


def test_what_is_missing_or_broken_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(ValueError, match="no medical source 'xray'; there are breakhis, ham10000, herlev"):
        qs.medical("xray", tmp_path)
    with pytest.raises(FileNotFoundError, match="name the folder of Herlev by data_dir or QUICKSTUDY_DATA; it is at"):
        qs.medical("herlev")
    with pytest.raises(FileNotFoundError, match=r"no Herlev in .*; looked for herlev_papsmear.zip, smear2005.zip"):
        qs.medical("herlev", tmp_path)
    (tmp_path / "smear2005").mkdir()
    with pytest.raises(ValueError, match="smear2005 holds no picture of Herlev; needed as it comes from https://"):
        qs.medical("herlev", tmp_path)
    skin(tmp_path, known=4)
    with pytest.raises(ValueError, match=r"HAM10000_metadata.csv tells no class of ISIC_0000004; fetch both again"):
        qs.medical("ham10000", tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_text("image_id\tdx\tlesion_id\n")
    with pytest.raises(ValueError, match=r"HAM10000_metadata.csv has no column 'dx', separated by commas"):
        qs.medical("ham10000", tmp_path)
    (tmp_path / "HAM10000_metadata.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"HAM10000_metadata.csv tells the classes of HAM10000, and is not in"):
        qs.medical("ham10000", tmp_path)


def test_a_damaged_zip_is_told(tmp_path):
    whole = zipped(cells(tmp_path / "unpacked") / "smear2005", tmp_path / "smear2005.zip")
    content = bytearray(whole.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    whole.write_bytes(content)
    with pytest.raises(ValueError, match=r"smear2005.zip is damaged \(.*\). Fetch it again"):
        qs.medical("herlev", tmp_path)


def test_joined_sources_are_groups_whose_classes_and_origins_stay_their_own(tmp_path):
    tumours = qs.medical("breakhis", breakhis(tmp_path), size=16)
    lesions = qs.medical("ham10000", skin(tmp_path / "skin"), size=16)
    both = qs.joined("both", tumours.rare, lesions.rare)
    assert both.classes[0] == f"{SOURCES['breakhis'].title}, rare/papillary_carcinoma"
    assert len(both.origins.unique()) == len(tumours.rare.origins.unique()) + len(lesions.rare.origins.unique())
    classes, _ = qs.FewShot(both, 3, 2, 2, within_groups=True, apart=True).draw(40, torch.Generator())
    assert {tuple(sorted(row.tolist())) for row in classes} == {(0, 1, 2), (3, 4, 5)}
    small = qs.LabelledData("small", torch.zeros(2, 3, 4, 4), torch.arange(2), ("a", "b"))
    with pytest.raises(ValueError, match=r"both: examples of shapes .* of which 1 of 2 parts tell origins; all need"):
        qs.joined("both", tumours.rare, small)
    with pytest.raises(ValueError, match=r"both: examples of shapes and types .*torch.float32.*torch.uint8"):
        qs.joined("both", tumours.rare, replace(tumours.rare, x=tumours.rare.x.float()))
