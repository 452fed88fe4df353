"""Intents of people who ask a machine for something: CLINC150 and Banking77."""

import csv
import io
import json
from collections import defaultdict
from pathlib import Path

from quickstudy.data.texts import LabelledTexts, text_file

CLINC_PLACES, CLINC_SOURCE = ("", "clinc150", "text/clinc150"), "https://github.com/clinc/oos-eval (data)"
BANKING_PLACES = ("", "banking77", "text/banking77")
BANKING_SOURCE = "https://github.com/PolyAI-LDN/task-specific-datasets (banking_data)"
OUTSIDE = "oos"


def clinc150(data_dir: str | Path | None = None) -> LabelledTexts:
    """150 intents of 10 domains with 150 queries each, and 1,200 queries that are out of scope (Larson et al., 2019).

    The domains are the groups of the intents. Queries of an intent come in the order of the file's parts: of val 20, of
    train 100, of test 30. https://aclanthology.org/D19-1131

    Args:
        data_dir: A folder that holds data_full.json and domains.json (or either with .gz), or a folder clinc150 or
            text/clinc150 with them; the variable QUICKSTUDY_DATA unless given.

    Raises:
        FileNotFoundError: No folder, or not its files.
        ValueError: Files that are not CLINC150's.
    """
    data, domains = (
        text_file(data_dir, CLINC_PLACES, name, CLINC_SOURCE) for name in ("data_full.json", "domains.json")
    )
    by_intent, outside = defaultdict(list), []
    try:
        groups = {intent: domain for domain, intents in json.loads(domains).items() for intent in intents}
        for part, rows in json.loads(data).items():
            for text, intent in rows:
                (outside if part.startswith(OUTSIDE) else by_intent[intent]).append(text)
        return LabelledTexts.of("CLINC150", by_intent, groups, outside)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"data_full.json or domains.json is not CLINC150's ({error}). Fetch both again.") from None


def banking77(data_dir: str | Path | None = None) -> LabelledTexts:
    """77 intents of a bank's customers with 13,083 questions (Casanueva et al., 2020).

    Questions of an intent come as in test.csv, 40, and then as in train.csv, 35 to 187.
    https://aclanthology.org/2020.nlp4convai-1.5

    Args:
        data_dir: A folder that holds train.csv and test.csv (or either with .gz), or a folder banking77 or
            text/banking77 with them; the variable QUICKSTUDY_DATA unless given.

    Raises:
        FileNotFoundError: No folder, or not its files.
        ValueError: A row without a text or an intent.
    """
    by_intent = defaultdict(list)
    for name in ("test.csv", "train.csv"):
        text = text_file(data_dir, BANKING_PLACES, name, BANKING_SOURCE)
        for row in csv.DictReader(io.StringIO(text, newline="")):
            if not row.get("text") or not row.get("category"):
                raise ValueError(f"{name} of Banking77 has columns text and category; a row is {row}. Fetch it again.")
            by_intent[row["category"]].append(row["text"])
    return LabelledTexts.of("Banking77", by_intent)
