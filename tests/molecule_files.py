"""Small files in the layouts of MoleculeNet and FS-Mol, of made-up molecules: those with an amine are active."""

import gzip
import itertools
import json
from pathlib import Path

import numpy as np

CHAINS = ["C" * n for n in range(1, 8)] + [
    "c1ccccc1C",
    "C1CCCCC1C",
    "C=CC",
    "CC(C)C",
    "OCC",
    "FC",
    "ClCC",
    "N#CC",
    "O=CCC",
    "CCSC",
]
ENDS = ["O", "N", "C(=O)O", "S", "Cl", "C(=O)N", "OC", "Br", "CN", "C#C"]
SMILES = list(dict.fromkeys(chain + end for chain, end in itertools.product(CHAINS, ENDS)))


def activity(assay: int, smiles: str) -> bool:
    """Amines are active; one in ten is measured wrongly, in each assay another one."""
    return ("N" in smiles) != (np.random.default_rng([assay, *smiles.encode()]).random() < 0.1)


def molecule_net(folder: Path, name: str = "tox21", assays: int = 6, unreadable: bool = False) -> Path:
    """Assays with a value missing here and there; perhaps with a molecule that is none."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join([*(f"A-{n}" for n in range(assays)), "mol_id", "smiles"])]
    for place, smiles in enumerate([*SMILES, *["C(C"] * unreadable]):
        values = ["" if (place + n) % 9 == 0 else str(int(activity(n, smiles))) for n in range(assays)]
        lines.append(",".join([*values, f"M{place}", smiles]))
    (folder / f"{name}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


def fs_mol(folder: Path, assays: int = 2, molecules: int = 40) -> Path:
    """Folders train, valid and test, with so many assays of so many molecules each."""
    for number, part in enumerate(("train", "valid", "test")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for n in range(assays):
            name, start = f"CHEMBL{number}{n}", 10 * (2 * number + n)
            rows = [
                {"SMILES": smiles, "Property": str(float(activity(n, smiles))), "Assay_ID": name, "Relation": "="}
                for smiles in SMILES[start : start + molecules]
            ]
            text = "\n".join(map(json.dumps, rows)) + "\n"
            (folder / part / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder
