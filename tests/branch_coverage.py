"""The share of branches taken in each part, from what `coverage json` writes; ends with 1 where one is below the limit.

coverage's own `fail_under` counts statements and branches together, by which many statements hide few branches.
"""

import json
import sys
from pathlib import Path, PurePosixPath

LIMIT = 0.95

#: Part -> the folders and files that are it.
PARTS = {
    "scoring": ("harness/scoring",),
    "data sets": ("harness/datasets",),
    "predictions": ("harness/predictions",),
    "records": ("harness/records.py", "harness/results.py", "harness/typed_json.py", "harness/verify.py"),
}


def shares(document):
    """Part -> (branches taken, branches) of a parsed `coverage json` file."""
    found = dict.fromkeys(PARTS, (0, 0))
    for name, measured in document["files"].items():
        path = PurePosixPath(name)
        for part, places in PARTS.items():
            if any(path.is_relative_to(place) for place in places):
                own = measured["summary"]
                taken, branches = found[part]
                found[part] = (taken + own["covered_branches"], branches + own["num_branches"])
    return found


def main(file):
    """Print the table of a file; 1 where a part has too few branches taken, or none that were measured."""
    low = False
    for part, (taken, branches) in shares(json.loads(Path(file).read_bytes())).items():
        enough = branches > 0 and taken >= LIMIT * branches
        low |= not enough
        share = f"{100 * taken / branches:5.1f} %" if branches else "  none measured"
        print(f"{part:12} {taken:5} of {branches:5} branches {share}{'' if enough else f', below {LIMIT:.0%}'}")
    return int(low)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
