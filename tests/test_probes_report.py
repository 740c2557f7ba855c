"""What probes left in records, as rows, figures and the page of findings; nothing here runs a network."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_records import make_record

from harness.records import dump_record, parse_record
from harness.report import probe_plots
from harness.report.probe_crossing import crossing_rows, crossing_sentence, crossings, in_crossing
from harness.report.probe_grid import crossing_grid
from harness.report.probe_page import gap_rows, probe_page
from harness.report.probe_rows import alignments, probed, protocols
from harness.report.probe_study import _figures
from harness.results import Results, StoredRun
from harness.skeletons import GROUPS
from harness.verify import verify

START = 60.0


def change(name, difference, *, slice="all", what="change", against="base", sure=True):
    kind = "group"
    low, high = (difference - 1, difference + 1) if sure else (None, None)
    return {
        "what": what, "against": against, "of": "x", "kind": kind, "slice": slice, "name": name, "a": START,
        "b": START + difference, "difference": difference, "low": low, "high": high, "p_holm": 0.01, "n_truth": 500,
        "verdict": "worse" if difference < -1 else "not shown",
    }  # fmt: skip


def run(probe, difference, *, method="fami", support=(0, -1, 1), extra=()):
    record = make_record(request={"probe": probe} if probe else {})
    rows = [change(name, difference * (2 if name == "Wrist" else 1)) for name in (*GROUPS, "total")]
    return replace(
        record, method=replace(record.method, name=method), inference=replace(record.inference, support=support),
        findings={"rows": [*rows, *extra]},
    )  # fmt: skip


def key_frame_runs():
    return [
        run("key_blur=8", -30.0), run("key_blur=2", -10.0), run("key_noise=40 seed 0", -5.0),
        run("key_grey=1", -0.5, method="copy_previous", support=(-1,)),
    ]  # fmt: skip


def test_rows_are_in_the_order_of_doses_and_know_who_is_blind():
    items = probed(key_frame_runs())
    fami = [(item.family, item.dose) for item in items if item.title == "fami:tiny"]
    assert fami == [("key_blur", 2.0), ("key_blur", 8.0), ("key_noise", 40.0)]
    assert [item.title for item in items if item.blind] == ["copy_previous:tiny"]
    assert items[1].row("Wrist")["difference"] == -20.0
    assert probed([make_record()]) == []


def test_dose_response_starts_at_the_untouched_run():
    figure = probe_plots.dose_response(probed(key_frame_runs()))
    blur = next(axes for axes in figure.axes if axes.get_title(loc="left") == "key_blur")
    line = next(line for line in blur.lines if line.get_label() == "fami:tiny")
    assert line.get_xdata().tolist() == [0, 2, 8] and line.get_ydata().tolist() == [60, 50, 30]
    level = next(line for line in blur.lines if "not shown it" in str(line.get_label()))
    assert set(level.get_ydata()) == {59.5}


def test_groups_have_lines_of_their_own():
    figure = probe_plots.joint_response([item for item in probed(key_frame_runs()) if not item.blind])
    blur = next(axes for axes in figure.axes if axes.get_title(loc="left") == "key_blur")
    wrist = next(line for line in blur.lines if line.get_label() == "Wrist")
    assert len(blur.lines) == len(GROUPS) and wrist.get_ydata().tolist() == [60, 40, 0]


def time_runs():
    slices = [change("total", -4.0, slice="occlusion_run:short"), change("total", 0.2, slice="speed:fast")]
    return [run("support_frozen", -2.0, extra=slices), run("support_stride=4", -1.5)]


def test_gains_are_drawn_upwards():
    above, below = probe_plots.gains(probed(time_runs())).axes[:2]
    assert [bar.get_height() for bar in above.patches] == [2.0, 1.5]
    heights = dict(zip([label.get_text() for label in below.get_xticklabels()],
                       [bar.get_height() for bar in below.patches], strict=True))  # fmt: skip
    assert heights["total"] == 2.0 and heights["Wrist"] == 4.0 and heights["occlusion_run:short"] == 4.0


def watched_run():
    def row(measure, value, bin="all"):
        return {
            "what": "alignment",
            "measure": measure,
            "bin": bin,
            "value": value,
            "low": value,
            "high": value,
            "n": 9,
        }

    rows = [
        *(row(name, value, bin) for bin in ("all", "<1", ">=4") for name, value in (
            ("hit_before", 0.5), ("hit_after", 0.6), ("hit_own", 0.8), ("cosine_before", 0.9), ("cosine_after", 0.95),
            ("cosine_perfect", 0.99), ("error", 1.0), ("error_zero", 2.0))),
        row("exposure", 2.5, "clips"),
    ]  # fmt: skip
    return replace(make_record(request={"probe": "alignment"}), findings={"rows": rows})


def test_alignment_has_three_panels_a_method():
    figure = probe_plots.alignment_by_displacement(alignments([watched_run()]))
    hits, likeness, error = figure.axes
    assert [line.get_label() for line in hits.lines] == ["before", "after", "perfect"]
    assert likeness.lines[1].get_ydata().tolist() == [0.95] * 2 and error.lines[0].get_label() == "no offset"


def with_weights(record, name, digest):
    return replace(record, weights=replace(record.weights, name=name, sha256=f"sha256:{digest * 32}"))


def test_several_weights_of_a_method_are_told_apart_by_name_and_drawn_apart(tmp_path):
    mine = with_weights(watched_run(), "hmta-tiny", "ab")
    other = with_weights(watched_run(), "transport.safetensors", "cd")
    assert [title for title, _ in alignments([mine])] == ["hrnet:tiny"]
    assert [title for title, _ in alignments([mine, other])] == ["hrnet:tiny (hmta-tiny)", "hrnet:tiny (transport)"]
    same = with_weights(other, "hmta-tiny", "cd")
    assert [title for title, _ in alignments([mine, same])] == ["hrnet:tiny (#abababab)", "hrnet:tiny (#cdcdcdcd)"]
    runs = []
    for record in (mine, other):
        folder = tmp_path / record.id
        folder.mkdir()
        maps = {"0_crop": np.zeros((8, 6, 3), np.uint8), "0_key": np.ones((4, 3)), "0_gathered": np.ones((4, 3)),
                "0_offsets": np.zeros((2, 4, 3))}  # fmt: skip
        np.savez(folder / "alignment.npz", **maps)
        runs.append(StoredRun(record, folder, {"id": record.id}))
    names = [name for name, _ in _figures(runs)]
    assert names == ["alignment", "features_hrnet_tiny_hmta_tiny", "features_hrnet_tiny_transport"]


def test_features_are_drawn_on_the_scale_of_the_key():
    arrays = {"0_crop": np.zeros((8, 6, 3), np.uint8), "0_key": np.ones((4, 3)), "0_gathered": np.full((4, 3), 5.0),
              "0_offsets": np.zeros((2, 4, 3))}  # fmt: skip
    figure = probe_plots.feature_maps("fami:tiny", arrays)
    key, gathered = figure.axes[1].images[0], figure.axes[2].images[0]
    assert key.get_clim() == gathered.get_clim() == (0, 1)


def protocol_runs():
    base = run("", 0.0)
    gap = change("total", 3.0, what="gap, flip", against="hrnet-tiny-0123abcd", sure=True)
    flip = replace(run("", 1.5, extra=[gap]), findings={"rows": [*run("", 1.5).findings["rows"], gap], "cell": "flip"})
    return [flip, run("boxes_jitter=0.05 seed 0", -2.0), replace(base, findings={})]


def test_confounds_show_settings_and_boxes():
    records = protocol_runs()
    items = protocols(probed(records))
    assert [item.family for item in items] == ["boxes_jitter", "flip"]
    rows = gap_rows(records)
    assert [row["gap"] for row in rows] == ["fami:tiny - hrnet:tiny [0123abcd]"]  # which is not at hand
    left, right = probe_plots.confounds(items, rows).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["boxes_jitter=0.05", "flip"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["flip"]
    (alone,) = probe_plots.confounds(items, []).axes
    assert [label.get_text() for label in alone.get_yticklabels()] == ["boxes_jitter=0.05", "flip"]


def test_every_pair_of_methods_has_a_panel_of_its_own():
    gaps = [
        change("total", value) | {"gap": pair, "protocol": "flip"} for pair, value in (("a - b", 1.0), ("a - c", 2.0))
    ]
    others = probe_plots.confounds(protocols(probed(protocol_runs())), gaps).axes[1:]
    assert [axes.get_title(loc="left") for axes in others] == ["a - b", "a - c"]


def test_runs_of_other_settings_and_seeds_are_not_drawn_as_one():
    """Of one method: against another untouched run, and with another seed."""
    other = run("key_blur=8", -40.0)
    rows = [row | {"against": "hrnet-tiny-0123abcd"} for row in other.findings["rows"]]
    items = probed([run("key_blur=2", -5.0), run("key_blur=8", -30.0), replace(other, findings={"rows": rows})])
    assert [(item.title, item.dose) for item in items] == [
        ("fami:tiny [0123abcd]", 8), ("fami:tiny [base]", 2), ("fami:tiny [base]", 8),
    ]  # fmt: skip
    items = probed([run("key_noise=40 seed 0", -5.0), run("key_noise=40 seed 3", -6.0)])
    assert [(item.family, item.label) for item in items] == [
        ("key_noise", "key_noise=40"), ("key_noise seed 3", "key_noise=40 seed 3"),
    ]  # fmt: skip
    shuffled = run("support_shuffled seed 3", -6.0)
    with warnings.catch_warnings(action="error"):
        (drawn,) = _figures([StoredRun(shuffled, Path(), {"id": shuffled.id})])
    assert [label.get_text() for label in drawn[1].axes[0].get_xticklabels()] == ["shuffled"]


def test_the_decoder_of_a_method_is_not_that_of_a_crossed_protocol():
    crossed = run("boxes_jitter=0.05 seed 0", -3.0)
    crossed = replace(crossed, inference=replace(crossed.inference, codec="dark", flip_test=True),
                      findings={**crossed.findings, "cell": "boxes_jitter=0.05, flip, codec dark"})  # fmt: skip
    own = run("boxes_proposal=1 seed 0", -2.0)
    told = f"| {own.inference.codec} | {'yes' if own.inference.flip_test else 'no'} | 60.0 |"
    assert told in probe_page(probed([crossed, own]), [], []) and own.inference.codec != "dark"
    assert "| – | – | 60.0 |" in probe_page(probed([crossed]), [], [])


def test_combinations_in_no_crossing_are_shown_beside_those_in_one():
    crossed = crossings(crossed_gaps())
    assert in_crossing("boxes_jitter=0.05, flip", crossed, "fami - hrnet") and in_crossing(
        "boxes_detector=1, flip", crossed, "fami"
    )
    assert not in_crossing("flip, bf16", crossed, "fami - hrnet") and not in_crossing(
        "boxes_jitter=0.05, flip", crossed, "vitpose"
    )
    assert not in_crossing("flip", crossed, "fami") and not in_crossing("fog, flip", crossed, "fami")


def test_labels_of_any_alphabet_have_figures_and_cells_of_their_own():
    runs = [replace(run("key_blur=2", -5.0), label=label) for label in ("α", "β", "two\nlines | bar")]
    names = [name for name, _ in _figures([StoredRun(record, Path(), {"id": record.id}) for record in runs])]
    assert len(set(names)) == len(names) == 4
    page = probe_page(probed(runs), [], [])
    assert "two lines \\| bar" in page and "\nlines" not in page


def crossed_gaps(**changed):
    """Gaps of two methods under 3 x 2 protocols: boxes move them by 2 and 4, flip by 1, and both at once by 1 more."""
    gaps = {
        "as it is": 1.0, "boxes_jitter=0.05": 3.0, "boxes_detector=1": 5.0, "flip": 2.0,
        "boxes_jitter=0.05, flip": 4.0, "boxes_detector=1, flip": 7.0, "bf16": 9.0, **changed,
    }  # fmt: skip
    row = change("total", 0.0)
    return [row | {"difference": gap, "gap": "fami - hrnet", "protocol": name} for name, gap in gaps.items()]


def test_a_crossing_says_what_of_the_gap_each_factor_moves():
    (found,) = crossings(crossed_gaps())
    assert found.levels == {"boxes": ("own", "boxes_detector=1", "boxes_jitter=0.05"), "flip": ("own", "flip")}
    assert len(found.gaps) == 6 and max(found.gaps.values()) == 7  # bf16 was combined with nothing
    assert [found.mean("boxes", level) for level in found.levels["boxes"]] == [1.5, 6.0, 3.5]
    # grand mean 11/3; sums of squares by hand: boxes 2 x 61/6, flip 6 x 4/9, all 70/3
    assert found.shares == pytest.approx({"boxes": 61 / 3 / (70 / 3), "flip": 24 / 9 / (70 / 3)})
    assert list(crossing_rows(found)[1].values()) == ["boxes", "boxes_detector=1", "+6.0"]
    told = crossing_sentence(found)
    assert told.startswith("fami - hrnet is +1.0 to +7.0 points under 6 protocols, all combinations of boxes, flip. ")
    assert told.endswith("boxes 87%, flip 11%; what they do together is the other 1%.")
    (axes,) = crossing_grid(found).axes
    assert [text.get_text() for text in axes.texts] == ["+1.0", "+2.0", "+5.0", "+7.0", "+3.0", "+4.0"]
    assert [label.get_text() for label in axes.get_yticklabels()][1:] == ["boxes_detector=1", "boxes_jitter=0.05"]


def test_no_crossing_of_protocols_that_were_not_all_run():
    rows = crossed_gaps()
    (smaller,) = crossings([row for row in rows if row["protocol"] != "boxes_detector=1"])
    assert smaller.levels["boxes"] == ("own", "boxes_jitter=0.05") and len(smaller.gaps) == 4
    assert crossings([row for row in rows if ", " not in row["protocol"]]) == [] and crossings([]) == []
    assert crossings(crossed_gaps(flip=None)) == []
    other = [change("total", 0.0) | {"gap": "fami - hrnet", "protocol": "flip, bf16", "difference": 1.0}]
    assert [tuple(found.levels) for found in crossings([*rows, *other])] == [("boxes", "flip"), ("flip", "precision")]
    same = [row | {"difference": 2.0} for row in rows]
    assert crossing_sentence(crossings(same)[0]).endswith(
        "is +2.0 points under 6 protocols, all combinations of boxes, flip."
    )


def test_the_page_says_what_the_rows_hold():
    records = [*key_frame_runs(), *time_runs(), *protocol_runs()]
    page = probe_page(
        probed(records), alignments([watched_run()]), gap_rows(records), figures=["dose_response.png", "time.png"]
    )
    assert "fami:tiny falls from 60.0 to 30.0 AP at `key_blur=8`." in page
    assert "Not shown the key frame at all, copy_previous:tiny has 59.5 AP" in page and "`key_grey=1`), " not in page
    grey = [run("key_grey=1", -0.2), run("key_grey=1", -30.0, method="hrnet")]
    both = probe_page(probed([*records, *grey]), [], [])
    assert "nothing left of it (`key_grey=1`), fami:tiny (59.8) do; hrnet:tiny (30.0) do not." in both
    assert "Temporal gain of fami:tiny: +2.0 [+1.0, +3.0], shown. By slice: occlusion_run:short +4.0" in page
    assert "helps reading the key frame's pose from neighbours (0.500 to 0.600 of all joints" in page
    assert "nearer to the true motion than none (1.00 against 2.00 cells off)" in page and "2.50 times" in page
    assert "One factor alone moves a method by up to 2.0 points (fami:tiny, boxes_jitter=0.05)" in page
    assert "![dose_response.png](dose_response.png)" in page and "![time.png](time.png)" in page


def test_the_page_says_who_was_not_asked_and_what_strides_meet():
    asked = [run("key_blur=8", -30.0), run("key_grey=1", -40.0), run("key_blur=8", -20.0, method="hrnet", support=(0,))]
    page = probe_page(probed(asked), [], [])
    assert "* Not asked, though others were: hrnet:tiny (`key_grey`)." in page and "beyond the ends" not in page
    strides = [run("support_stride=8", -1.0), run("support_frozen", -2.0)]
    assert "beyond the ends of a video" in (page := probe_page(probed(strides), [], [])) and "Not asked" not in page


def test_findings_round_trip_one_row_a_line():
    record = watched_run()
    text = dump_record(record)
    again, _ = parse_record(text.encode(), source="x")
    assert again.findings == {"rows": [dict(sorted(row.items())) for row in record.findings["rows"]]}
    assert sum('"what": "alignment"' in line for line in text.splitlines()) == len(record.findings["rows"])
    assert '"findings"' not in dump_record(make_record())
    assert dump_record(again) == text


@pytest.mark.parametrize("sure", [True, False])
def test_too_few_videos_have_no_interval(sure):
    row = change("total", -2.0, sure=sure)
    record = replace(
        run("support_frozen", -2.0), findings={"rows": [change(name, -2.0, sure=sure) for name in GROUPS] + [row]}
    )
    page = probe_page(probed([record]), [], [])
    assert ("[+1.0, +3.0]" in page) is sure


ROW = change("total", -2.0)
ODD_ROWS = {
    "a text": ("abc", "findings.rows: expected a list, found 'abc'"),
    "a number": (7, "findings.rows: expected a list, found 7"),
    "a list of numbers": ([7], "findings.rows[0]: expected an object, found 7"),
    "no what": ([{"slice": "all"}], "findings.rows[0].what: expected a text, found None"),
    "bare": ([ROW, {"what": "change"}], "findings.rows[1].against: missing; expected a text"),
    "no slice": ([{k: v for k, v in ROW.items() if k != "slice"}], "findings.rows[0].slice: missing"),
    "a text for a number": ([ROW | {"b": "60"}], "findings.rows[0].b: expected a number or null, found '60'"),
    "true": ([ROW | {"difference": True}], "findings.rows[0].difference: expected a number or null, found True"),
    "half an interval": ([ROW | {"low": None}], "findings.rows[0].low, .high: expected both or neither"),
    "a bare gap": ([{"what": "gap, flip"}], "findings.rows[0].against: missing"),
    "a bare alignment": ([{"what": "alignment"}], "findings.rows[0].measure: missing"),
    "no total": ([change("Wrist", -2.0)], "findings.rows: no row 'total' of slice 'all'"),
    "another kind": ([{"what": "weather"}], "findings.rows: none says what a probe changed"),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD_ROWS)
def test_odd_rows_are_one_line_with_run_and_row(harness, tmp_path, odd):
    rows, said = ODD_ROWS[odd]
    stored = Results(tmp_path).save(make_record(request={"probe": "key_blur=8"}, findings={"rows": rows}))
    assert verify(stored).sound  # its digest is
    answer = harness("report", "probes", "--results", tmp_path, "-o", tmp_path / "page")
    assert answer.code == 3 and f"run {stored.id}: {said}" in answer.err and answer.err.count("\n") == 1, answer.err


def test_values_that_are_not_known_leave_gaps():
    nothing = dict.fromkeys(("a", "b", "difference", "low", "high", "p_holm"))
    unknown = [change(name, 0.0) | nothing for name in (*GROUPS, "total")]
    record = replace(run("key_blur=8", -3.0), findings={"rows": unknown})
    page = probe_page(probed([record, run("support_frozen", -2.0)]), [], [])
    assert "falls from" not in page and "key_blur=8" in page
    probe_plots.dose_response(probed([record]))
    (item,) = probed([replace(record, request={"probe": "key_blur=1-2"})])
    assert (item.name, item.dose) == ("key_blur=1-2", 0.0)


def test_a_slice_that_only_one_method_has_is_left_open():
    one, other = time_runs()[0], run("support_frozen", -1.0, method="hmta")
    assert probe_plots.gains(probed([one, other])).axes
