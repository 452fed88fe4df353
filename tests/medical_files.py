"""Small files in the layouts of BreakHis, HAM10000 and Herlev, with pictures of one colour."""

from pathlib import Path
from zipfile import ZipFile

from PIL import Image

TUMOURS = {
    "phyllodes_tumor": [6],
    "ductal_carcinoma": [9, 8, 7, 6],
    "lobular_carcinoma": [5],
    "adenosis": [4],
    "papillary_carcinoma": [3, 3, 3, 3],
} | {name: [5, 4, 4, 4] for name in ("tubular_adenoma", "fibroadenoma")}
"""Pictures of each patient."""
SAME = {"phyllodes_tumor": "papillary_carcinoma"}
"""Whose patients are the first of another class."""


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 20), (shade, 100, 200)).save(path)


def breakhis(folder: Path, official: bool = True, times: int = 1) -> Path:
    """Tumours, as they unpack, or in folders of classes."""
    for label, counts in TUMOURS.items():
        for patient, count in enumerate(counts):
            number = 100 * list(TUMOURS).index(SAME.get(label, label)) + patient
            for n in range(times * count):
                who = f"{number}{('AB', 'CD')[n % 2]}"
                for zoom in (40, 200):
                    place = f"histology_slides/breast/benign/SOB/{label}/SOB_B_A_14-{who}/{zoom}X"
                    if official:
                        picture(folder / "BreaKHis_v1" / place / f"SOB_B_A-14-{who}-{zoom}-{n:03}.png", patient)
                if not official:
                    picture(folder / "breakhis200x" / label / f"benign_{who}_{n:03}.jpg", patient)
    return folder


def zipped(folder: Path, path: Path) -> Path:
    with ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


LESIONS = {"nv": 9, "mel": 8, "bkl": 7, "akiec": 6, "df": 4, "vasc": 5}


def skin(folder: Path, known: int = 8, times: int = 1) -> Path:
    """Lesions, two pictures of each, in two zips with their table."""
    rows, number = ["lesion_id,image_id,dx,dx_type,age,sex,localization"], 0
    for label, lesions in ((label, times * count) for label, count in LESIONS.items()):
        for lesion in range(lesions):
            for part in (1, 2):
                picture(folder / f"HAM10000_images_part_{part}" / f"ISIC_{number:07}.jpg", lesion)
                rows.append(f"HAM_{label}{lesion},ISIC_{number:07},{label},histo,50,male,back")
                number += 1
    for part in (1, 2):
        zipped(folder / f"HAM10000_images_part_{part}", folder / f"HAM10000_images_part_{part}.zip")
    (folder / "HAM10000_metadata.csv").write_text("\n".join(rows[:known] if known < 8 else rows))
    return folder


CELLS = {
    "severe_dysplastic": 12,
    "light_dysplastic": 11,
    "moderate_dysplastic": 10,
    "normal_superficiel": 9,
    "normal_intermediate": 8,
    "normal_columnar": 7,
    "carcinoma_in_situ": 6,
}


def cells(folder: Path) -> Path:
    """Two cells of each photograph."""
    for kind, (label, count) in enumerate(CELLS.items()):
        for n in range(count):
            picture(folder / "smear2005" / label / f"149{kind}{n // 2}-1491{n}-001.BMP", n)
            picture(folder / "smear2005" / label / f"149{kind}{n // 2}-1491{n}-001-d.BMP", n)  # its segmentation
    return folder
