"""Write a results file of invented students: `python generate.py ROWS [--seed N] [--test PSAT] > file.csv`.

The same arguments give the same bytes. Nobody in it exists: names are drawn from two short lists,
ids count up.
"""

import argparse
import csv
import random
import sys
from collections.abc import Iterator
from datetime import date, timedelta

GIVEN = (
    "Astrid",
    "Bodo",
    "Calliope",
    "Dov",
    "Eudora",
    "Fergus",
    "Ginevra",
    "Horatio",
    "Isolde",
    "Jorah",
    "Zoë",
)
FAMILY = (
    "Applewood",
    "Brightwater",
    "Cloudsley",
    "Dragonfly",
    "Evermoor",
    "Fogharty",
    "O'Thistle",
    "Peña-Quill",
)
FIRST_DAY = date(2021, 9, 1)
SUBSCORES = (
    "WORDS_CONTEXT",
    "COMM_EVIDENCE",
    "EXPR_IDEAS",
    "ENG_CONVENT",
    "HEART_ALGEBRA",
    "ADV_MATH",
    "PROBSLV_DATA",
)
TESTS = ("READING", "WRIT_LANG", "MATH_TEST", "SCI_CROSS", "HIST_SOCST_CROSS")
SECTIONS = ("TOTAL", "EBRW", "MATH_SECTION")


def header(test: str) -> list[str]:
    """Name the columns, as the results files of this test do."""
    return [
        "DISTRICT_NAME", "NAME_LAST", "NAME_FIRST", "BIRTH_DATE", "CB_ID",
        "DISTRICT_STUDENT_ID", "STATE_STUDENT_ID",
        f"LATEST_{test}_DATE", f"LATEST_{test}_GRADE",
        *(f"LATEST_{test}_{name}" for name in (*SECTIONS, *TESTS, *SUBSCORES)),
        *(f"PERCENTILE_{group}_{test}_{name}" for group in ("NATREP", "NATUSER") for name in SECTIONS),
        "EBRW_CCR_BENCHMARK", "MATH_CCR_BENCHMARK",
    ]  # fmt: skip


def student(number: int, chance: random.Random) -> list[str]:
    """Invent one student's row; scores agree with their sums."""
    reading, writing, maths = (chance.randint(10, 40) for _ in range(3))
    verbal, math = 10 * (reading + writing), 20 * maths
    rank = (verbal + math) // 17
    percentiles = [max(1, min(99, rank + chance.randint(-4, 4))) for _ in range(6)]
    born = date(2006, 1, 1) + timedelta(days=chance.randrange(1400))
    sat_on = FIRST_DAY + timedelta(days=chance.randrange(1400))
    scores = [
        verbal + math,
        verbal,
        math,
        reading,
        writing,
        maths,
        *(chance.randint(10, 40) for _ in range(2)),
    ]
    return [
        "Nowhere Unified", chance.choice(FAMILY), chance.choice(GIVEN), born.isoformat(), f"FICT{number:08d}",
        str(700_000_000 + number), str(900_000_000 + number), f"{sat_on.month}/{sat_on.day}/{sat_on.year}",
        chance.choice(("4", "5", "6", "7")), *map(str, scores), *(str(chance.randint(1, 15)) for _ in
        SUBSCORES), *map(str, percentiles), "Y" if verbal >= 480 else "N", "Y" if math >= 530 else "N",
    ]  # fmt: skip


def rows(count: int, seed: int) -> Iterator[list[str]]:
    """Invent `count` students, always the same ones for a seed."""
    chance = random.Random(seed)
    for number in range(1, count + 1):
        yield student(number, chance)


def main() -> None:
    """Write the file to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--test", choices=("SAT", "PSAT"), default="SAT")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(header(arguments.test))
    out.writerows(rows(arguments.rows, arguments.seed))


if __name__ == "__main__":
    main()
