"""Notebooks: those in reports/ are the templates, without outputs, and all of them run on stored records."""

import json
import re
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report.notebooks import notebooks, render_notebook

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, smoke_val: Path) -> Path:
    """Two small runs to write notebooks about."""
    from harness.evaluate import evaluate_together
    from harness.request import Request
    from harness.results import Results

    folder = tmp_path_factory.mktemp("notebooks") / "results"
    requests = [Request(method=name, dataset="synthtrack-smoke") for name in ("hrnet", "copy_previous")]
    evaluate_together(requests, Results(folder))
    return folder


@pytest.mark.parametrize("name", notebooks)
def test_reports_hold_the_templates_without_outputs(name: str) -> None:
    text = (REPORTS / f"{name}.ipynb").read_text()
    assert text == render_notebook(name), "stale: run `make reports`"
    for cell in json.loads(text)["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_reports_hold_no_other_notebook() -> None:
    assert {path.stem for path in REPORTS.glob("*.ipynb")} == set(notebooks)


@pytest.mark.parametrize("name", notebooks)
def test_cells_are_short_valid_and_have_ids_of_their_own(name: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    document = nbformat.reads(render_notebook(name), as_version=4)
    nbformat.validate(document)
    assert document.cells[0].source.startswith("# ")
    assert len({cell.id for cell in document.cells}) == len(document.cells)
    assert max(len(cell.source.splitlines()) for cell in document.cells) <= 36
    assert notebooks[name].parameters and set(notebooks[name].runs) <= set(notebooks[name].parameters)


def test_parameters_are_replaced_in_the_first_cell_only() -> None:
    cells = json.loads(render_notebook("failure", {"RUN": "a'b", "DATA_ROOT": None}))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert """RUN = "a'b"  # an id, the start of one""" in code[0] and "DATA_ROOT = None  # the data" in code[0]
    assert 'RESULTS = "../results/reference"  #' in code[0]
    assert not any("RUN = " in text for text in code[1:])
    with pytest.raises(UsageError, match="no parameter 'RUNS'; it has RESULTS, RUN, DATA_ROOT"):
        render_notebook("failure", {"RUNS": []})
    with pytest.raises(UsageError, match="did you mean 'failure'"):
        render_notebook("failures")


ASKED = {
    "failure": ("--run", "hrnet"),
    "occlusion": ("--run", "hrnet", "--run", "copy_previous"),
    "compare": ("--run", "copy_previous", "--run", "hrnet"),
    "own_method": (),
    "paper_table": (),
}


@pytest.mark.parametrize("name", notebooks)
def test_notebook_runs(harness, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = tmp_path / "deep" / f"{name}.ipynb"
    where = () if name == "own_method" else ("--results", results)
    answer = harness("notebook", name, *ASKED[name], *where, "-o", path)
    assert (answer.code, answer.out.strip()) == (0, str(path)), answer.err
    document = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(document, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in document.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "\n".join(str(output) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"], said
    assert EXPECTED[name](said, {kind for output in outputs for kind in output.get("data", {})})


EXPECTED = {
    "failure": lambda said, kinds: "HRNet (tiny), per joint" in said and "image/png" in kinds and "swap" in said,
    "occlusion": lambda said, kinds: "visibility:occluded" in said and "image/png" in kinds,
    "compare": lambda said, kinds: "not shown (fewer than 8 sequences)" in said and "B is better in" in said,
    "own_method": lambda said, kinds: "Frame difference (tiny)" in said and ".json" in said,
    "paper_table": lambda said, kinds: "FAMI-Pose" in said and "suspect" in said and "toprule" in said,
}


def test_asking_for_the_wrong_number_of_runs(harness, results: Path, tmp_path: Path) -> None:
    answer = harness("notebook", "compare", "--run", "hrnet", "--results", results, "-o", tmp_path / "a.ipynb")
    assert answer.code == 2 and "about 2 run(s), 1 named; give --run twice" in answer.err
    assert harness("notebook", "failure", "--run", "nobody", "--results", results).code == 2
    assert not list(tmp_path.iterdir())


def test_list_names_every_kind(harness) -> None:
    answer = harness("notebook", "list")
    assert answer.code == 0 and all(re.search(rf"^{name} ", answer.out, re.MULTILINE) for name in notebooks)


def test_a_place_that_cannot_be_written_is_said(harness, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = harness("notebook", "paper_table", "-o", tmp_path / "file" / "x.ipynb")
    assert answer.code == 1 and "cannot write the notebook" in answer.err


def test_notebooks_take_defaults_from_beside_the_data(harness, results: Path, tmp_path: Path) -> None:
    (tmp_path / "harness.toml").write_text(f'[failure]\nresults = "{results}"\n')
    path = tmp_path / "a.ipynb"
    answer = harness("notebook", "failure", "--run", "hrnet", "--data-root", tmp_path, "-o", path)
    assert (answer.code, answer.out.strip()) == (0, str(path)), answer.err
