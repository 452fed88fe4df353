"""Tiny ImageNet: 200 classes of ImageNet at 64x64 pixels (Stanford's CS231n, 2015), in tieredImageNet's split.

http://cs231n.stanford.edu/tiny-imagenet-200.zip; tieredImageNet (Ren et al., 2018): https://arxiv.org/abs/1803.00676
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from quickstudy.data.arrow import Unpacked, pack_places, packed
from quickstudy.data.files import data_directory, digest, obtain, open_zip, read_image, read_member
from quickstudy.data.labelled import LabelledData

ZIP, URL = "tiny-imagenet-200.zip", "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
PLACES = [
    f"{folder}{name}"
    for folder in ("", "tiny-imagenet/")
    for name in (ZIP, "tiny_imagenet_200x120.zip", "tiny-imagenet-200")
]
PICTURE = re.compile(r"(?:^|/)(n\d{8})_(\d+)\.JPEG$")
SPLITS = {  # split: {category: its classes}, by WordNet id; tieredImageNet has 123 of the 200 classes
    "train": {
        "n01726692": "n01742172",
        "n01844917": "n01855672 n02002724 n02056570 n02058221",
        "n02092468": "n02094433",
        "n02120997": "n02123045 n02123394 n02124075 n02125311 n02129165",
        "n02370806": "n02395406 n02403003 n02410509 n02415577 n02423022 n02437312",
        "n02469914": "n02480495 n02481823 n02486410",
        "n02913152": "n02793495",
        "n03125870": "n03447447 n03662601",
        "n03278248": "n02988304 n03085013 n03584254 n03902125",
        "n03297735": "n02791270 n02927161 n03089624",
        "n03414162": "n02802426 n04023962 n04118538 n04540053",
        "n03419014": "n02837789 n02883205 n02963159 n03404251 n03617480 n03770439 n03980874 n04371430",
        "n03574816": "n02841315 n02950826 n03544143 n03706229 n03891332 n04008634 n04328186 n04356056 n04376876",
        "n03800933": "n03838899 n03854065",
        "n04014297": "n02843684 n03424325 n03637318 n04417672 n04507155",
        "n04081844": "n03804744",
        "n04451818": "n03649909 n03970156",
    },
    "val": {
        "n02098550": "n02099601 n02099712",
        "n03257877": "n04070727",
        "n03405265": "n03179701 n03201208 n04099969",
        "n03699975": "n02666196 n02977058",
        "n03738472": "n03992509 n04067472",
        "n03791235": "n02814533 n03100240 n03444034 n03670208 n03796401 n03977966 n04285008",
    },
    "test": {
        "n00020090": "n07579787 n07583066 n07614500 n07615774 n07873807 n07875152 n07920052",
        "n01473806": "n01443537",
        "n02103406": "n02106662",
        "n02159955": "n02165456 n02190166 n02206856 n02226429 n02231487 "
        "n02233338 n02236044 n02268443 n02279972 n02281406",
        "n03839993": "n02788148 n03160309 n03930313 n04501370",
        "n04531098": "n02795169 n02808440 n02815834 n02823428 n02909870 "
        "n03937543 n03983396 n04398044 n04560804 n04562935",
        "n09287968": "n09193705 n09246464 n09256479 n09332890 n09428293",
        "n15046900": "n07715103 n07720875 n07734744 n07747607 n07749582 n07753592 n07768694",
    },
}


def tiny_imagenet(
    data_dir: str | Path | None = None, *, size: int = 64
) -> tuple[LabelledData, LabelledData, LabelledData]:
    """Tiny ImageNet's meta-train, meta-validation and meta-test classes (61, 17 and 45), in colour, memory-mapped.

    Of the 200 classes, those that tieredImageNet has, on the side where it has them: the sides share no category, such
    as insects or vessels. Groups are these categories. Of the official file, the 500 labelled training pictures of each
    class are read. Pictures are packed once into a file beside the data, or in the user's cache.

    Args:
        data_dir: The folder with the official zip, or with what it unpacks to, or with a folder `tiny-imagenet` that
            holds one of them; else the variable QUICKSTUDY_DATA; else it is downloaded (237 MB).
        size: Height and width of the pictures: 64 as they are, 84 as mini-ImageNet's.

    Raises:
        FileNotFoundError: The folder holds no Tiny ImageNet.
        ValueError: Pictures are missing or broken; nothing is kept of it.
        ConnectionError: The download failed.
        ImportError: pyarrow is not installed.
    """
    source = find(data_directory(data_dir))
    stamps = listing(source)
    train, val, test = (part(source, stamps, split, size) for split in SPLITS)
    return train, val, test


def find(folder: Path | None) -> Path:
    """The zip, or the folder that it unpacks to."""
    if folder is None:
        return obtain(ZIP, url=URL, known_hash=f"md5:{MD5}", folder=None, places=())
    for place in PLACES:
        if (folder / place).exists():
            return folder / place
    raise FileNotFoundError(
        f"no Tiny ImageNet in {folder}; looked for {', '.join(PLACES)}. "
        f"Put {ZIP} there, from {URL}, or leave --data-dir and QUICKSTUDY_DATA out to download it."
    )


def listing(source: Path) -> dict[str, int]:
    """The pictures of the classes, with a number each that tells whether the file is another."""
    if source.is_dir():
        found = {str(path.relative_to(source)): path.stat().st_size for path in source.rglob("*.JPEG")}
    else:
        with open_zip(source, "Tiny ImageNet") as archive:
            found = {entry.filename: entry.CRC for entry in archive.infolist()}
    return {file: stamp for file, stamp in found.items() if PICTURE.search(file)}


def part(source: Path, stamps: dict[str, int], split: str, size: int) -> LabelledData:
    """The classes of one split, packed or from before."""
    groups = {name: category for category, names in SPLITS[split].items() for name in names.split()}
    numbered = [(*PICTURE.search(file).groups(), file) for file in stamps]  # pyright: ignore[reportOptionalMemberAccess]
    chosen = sorted((name, int(number), file) for name, number, file in numbered if name in groups)
    labels, files = [name for name, _, _ in chosen], [file for _, _, file in chosen]
    counts = Counter(labels)
    fewest, most = min(groups, key=counts.__getitem__), max(counts.values(), default=500)
    if counts[fewest] < most:
        raise ValueError(
            f"{source} is not the whole Tiny ImageNet, where every class has as many pictures: "
            f"{fewest} has {counts[fewest]}, others {most}. Fetch or unpack it again."
        )
    key = digest(f"{file} {stamps[file]}" for file in files)
    return packed(
        pack_places(source.parent, f"tiny-imagenet-{size}-{split}", key),
        key,
        lambda: Unpacked(f"tiny-imagenet {split}", read(source, files, size), labels, groups),
    )


def read(source: Path, files: list[str], size: int) -> Iterator[UInt8[Tensor, "3 {size} {size}"]]:
    with nullcontext() if source.is_dir() else open_zip(source, "Tiny ImageNet") as archive:
        for file in files:
            content = read_member(archive, file) if archive else source / file
            yield read_image(content, f"{source}: {file}", size, "RGB")
