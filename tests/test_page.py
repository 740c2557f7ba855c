"""The page without a browser: which failures it finds, by hand; that it stands alone and keeps to its budget."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from page_scenes import FRAMES, open_scene

from harness.errors import UsageError
from harness.report.opened import check_same_labels
from harness.report.page import Content, cells_of, find_failures, make_page, write_page
from harness.report.page.failures import Failure
from harness.report.page.pictures import encode_pictures
from harness.report.page.theatre import LONGEST, stage, window
from harness.scoring.error_classes import CLASSES
from harness.skeletons import POSETRACK15

HOSTILE = 'First <script>alert(1)</script> </script><img src=x onerror=alert(2)> $x$ & "q"'


class Read(HTMLParser):
    """Elements with their attributes, and the text of script elements."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.scripts, self.text, self.script = [], [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.script = tag == "script"
        if self.script:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self.script = False

    def handle_data(self, data):
        if self.script:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        self.text += data

    def data(self):
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "theatre-data"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_scene(tmp_path_factory.mktemp("scene"), titles=(HOSTILE, "Second"))


@pytest.fixture(scope="module")
def page(opened):
    return make_page(Content(opened.runs, opened))


def failures(opened, runs, **asked):
    matched = opened.matched[:runs]
    return find_failures(matched, [cells_of(each) for each in matched], limit=10, **asked)


def test_failures_between_two_runs_by_hand(opened):
    found, total = failures(opened, 2)
    assert total == len(found) == 2
    wrist, knee = found
    # heads are 60 px: 45 px are 0.75 heads (jitter), 300 px are 5, which count as the 2 that are the most (a miss)
    assert (wrist.wrong, wrist.first, wrist.last, wrist.worst, wrist.weight) == (1, 2, 4, 4, 3.5)
    assert POSETRACK15.names[wrist.joint] == "right_wrist" and wrist.track == 5
    assert [CLASSES[code] for code in wrist.codes] == ["jitter", "miss"] and CLASSES[wrist.outcome] == "miss"
    # a joint that is not there counts as far as any
    assert (knee.wrong, knee.first, knee.last, knee.weight) == (0, 6, 6, 2.0)
    assert POSETRACK15.names[knee.joint] == "left_knee" and [CLASSES[code] for code in knee.codes] == ["absent"]


def test_failures_of_one_run_are_all_its_own(opened):
    found, total = failures(opened, 1)
    assert total == 1 and POSETRACK15.names[found[0].joint] == "left_knee"


def test_slices_and_limit(opened):
    found, total = find_failures(
        opened.matched, [cells_of(each) for each in opened.matched], limit=1, slices=("speed", "visibility")
    )
    assert total == 2 and len(found) == 1
    assert found[0].bins == ("speed:slow",)  # nobody moves; the labels say nothing of visibility


@pytest.mark.parametrize(
    ("first", "last", "worst", "length", "expected"),
    [
        (2, 4, 4, 8, (0, 7)),
        (5, 5, 5, 30, (2, 8)),
        (0, 0, 0, 1, (0, 0)),
        (0, 99, 50, 100, (38, 62)),
        (0, 99, 98, 100, (75, 99)),
    ],
)
def test_a_clip_is_the_failure_and_its_context_around_the_worst_frame(first, last, worst, length, expected):
    failure = Failure(0, 1, 0, first, last, worst, 0, 1.0, (0,), (4,), 4, -1)
    assert window(failure, length) == expected
    assert expected[1] - expected[0] < LONGEST


def test_the_theatre_holds_the_poses_in_pixels(opened):
    staged = stage(opened, limit=10, slices=("speed",))
    frame = staged.data["sequences"][0]["frames"][4]
    wrist = POSETRACK15.index("right_wrist")
    truth, put = frame["truth"][0]["joints"], frame["predicted"][1][0]["joints"]
    assert put[2 * wrist] == truth[2 * wrist] and put[2 * wrist + 1] - truth[2 * wrist + 1] == 300.0
    assert frame["truth"][0]["codes"][0][wrist] == str(CLASSES.index("good"))
    assert frame["truth"][0]["codes"][1][wrist] == str(CLASSES.index("miss"))
    assert frame["truth"][0]["head"] == 60.0
    knee = POSETRACK15.index("left_knee")
    assert staged.data["sequences"][0]["frames"][6]["predicted"][0][0]["joints"][2 * knee] is None
    assert list(staged.data["sequences"]) == [0]  # the second sequence holds no failure
    assert len(staged.images) == FRAMES and staged.images[0].is_file()


def test_the_page_stands_alone(page):
    read = Read(page)
    for tag, attributes in read.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    assert "url(http" not in page and "@import" not in page
    policy = next(each["content"] for _, each in read.elements if each.get("http-equiv") == "Content-Security-Policy")
    run = [text for attributes, text in read.scripts if "type" not in attributes]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert "script-src " + " ".join(f"'sha256-{digest}'" for digest in digests) + ";" in policy
    assert "default-src 'none'" in policy and "'unsafe-eval'" not in policy


def test_names_are_text(page):
    read = Read(page)
    assert "<script>alert(1)" not in page and "<img src=x" not in page
    assert HOSTILE in read.text
    assert read.data()["runs"][0].startswith(HOSTILE)
    assert not [each for tag, each in read.elements if tag == "img"]


def test_pictures_are_the_frames_and_can_be_left_out(opened, page):
    pictures = [text for attributes, text in Read(page).scripts if attributes.get("id", "").startswith("picture-")]
    assert len(pictures) == FRAMES
    first = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    source = cv2.imread(str(stage(opened, limit=10, slices=()).images[0]))
    assert first.shape == source.shape and np.abs(first.astype(int) - source).mean() < 12
    bare = make_page(Content(opened.runs, opened, pixels=False, compared=False))
    assert not [each for _, each in Read(bare).elements if each.get("id", "").startswith("picture-")]
    assert not re.search(r"data:image/[\w+]+;base64,[A-Za-z0-9+/]", bare) and "<image" not in bare
    assert Read(bare).data()["failures"] == Read(page).data()["failures"]


def test_numbers_are_those_of_the_records(opened, page):
    for run in opened.runs:
        groups = run.record.table.groups("ap")
        for value in groups.values():
            assert f'data-value="{value!r}"' in page
        assert re.search(rf'<div class="big">\s*{groups["Total"]:.1f} ', page)


def test_without_labels_the_rest_is_there(opened, tmp_path):
    path = tmp_path / "new" / "report.html"
    size = write_page(Content(opened.runs[:1], None, "Without the failures: not at hand"), path)
    text = path.read_text()
    assert size == path.stat().st_size and "not at hand" in text
    assert (
        "data-theatre" not in text.split("<script>", 2)[1]
        and 'id="theatre"' not in text
        and "AP per joint group" in text
    )


def test_runs_on_different_labels_are_refused(opened):
    record = replace(opened.runs[1].record, dataset=replace(opened.runs[1].record.dataset, fingerprint="sha256:0"))
    with pytest.raises(UsageError, match="different data"):
        check_same_labels([opened.runs[0], replace(opened.runs[1], record=record)])


def test_pictures_keep_to_a_budget(tmp_path):
    random = np.random.default_rng(1)
    paths = [tmp_path / f"{number}.jpg" for number in range(6)]
    for path in paths:
        cv2.imwrite(str(path), random.integers(0, 255, (180, 320, 3), dtype=np.uint8))
    whole = encode_pictures([*paths, tmp_path / "absent.jpg"])
    assert whole[6] is None and all(whole[:6])
    less = encode_pictures(paths, budget=sum(map(len, whole[:6])) // 3)
    assert all(less) and sum(map(len, less)) <= sum(map(len, whole[:6])) // 3
    least = encode_pictures(paths, budget=len(whole[0]) // 20)
    assert least[0] and least[5] is None
