"""The gate of `make coverage`: branches alone, each part for itself, by hand."""

import json

import pytest
from branch_coverage import PARTS, main, shares


def measured(**taken):
    """A report in which every part has 40 statements that all ran and 20 branches, `taken` of them or all."""
    files = {
        places[-1] + ("" if places[-1].endswith(".py") else "/deep/module.py"): {
            "summary": {"covered_lines": 40, "num_statements": 40, "num_branches": 20,
                        "covered_branches": taken.get(part.replace(" ", "_"), 20)}
        }
        for part, places in PARTS.items()
    }  # fmt: skip
    return {"files": files | {"harness/methods.py": {"summary": {"num_branches": 9, "covered_branches": 0}}}}


def test_branches_are_counted_by_part():
    document = measured(scoring=13)
    document["files"]["harness/scoring/hota.py"] = {"summary": {"num_branches": 4, "covered_branches": 3}}
    found = shares(document)
    assert found == {"scoring": (16, 24), "data sets": (20, 20), "predictions": (20, 20), "records": (20, 20)}


@pytest.mark.parametrize(("taken", "code"), [(20, 0), (19, 0), (18, 1)])
@pytest.mark.parametrize("part", PARTS)
def test_one_part_below_the_limit_fails(tmp_path, capsys, part, taken, code):
    """19 of 20 are 95 %, 18 are not, though with the statements they would be 58 of 60."""
    (tmp_path / "coverage.json").write_text(json.dumps(measured(**{part.replace(" ", "_"): taken})))
    assert main(tmp_path / "coverage.json") == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == list(PARTS)
    assert [line for line in lines if "below 95%" in line] == ([] if code == 0 else [lines[list(PARTS).index(part)]])


def test_a_part_that_was_not_measured_fails(tmp_path, capsys):
    document = measured()
    del document["files"]["harness/verify.py"]
    (tmp_path / "coverage.json").write_text(json.dumps(document))
    assert main(tmp_path / "coverage.json") == 1
    assert "none measured, below 95%" in capsys.readouterr().out.splitlines()[-1]
