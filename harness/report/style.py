"""How every figure looks and how it is saved: colours that order by lightness, a caption, files equal run to run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from harness.errors import HarnessError
from harness.files import write_atomically

__all__ = ["FLOOR", "GREY", "LINES", "MARKERS", "Look", "add_caption", "new_figure", "palette", "save", "theme"]

#: Colour of the floor (a rule that sees no pixels), and of everything that is not data.
FLOOR, GREY = "#c9c9c9", "#5f5f5f"

#: Markers and lines that are told apart without colour.
MARKERS, LINES = "osD^vP*X", ((), (5, 2), (1.5, 1.5), (5, 2, 1.5, 2))

_THEME: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.edgecolor": "#8a8a8a", "axes.labelcolor": "#333333",
    "xtick.color": "#333333", "ytick.color": "#333333", "grid.color": "#e4e4e4", "grid.linewidth": 0.7,
    "axes.axisbelow": True, "svg.hashsalt": "harness", "svg.fonttype": "path", "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a name with a dollar sign is a name
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How one run is drawn in every figure: its colour, its marker, and the dashes of its line."""

    colour: Any
    marker: str
    dashes: tuple[Any, ...]

    @classmethod
    def numbered(cls, number: int, colour: Any) -> Look:
        """The look of run `number` of a figure; a floor is darkened, so that its line is seen without a fill."""
        return cls("#8f8f8f" if colour == FLOOR else colour, MARKERS[number % 8], LINES[number % 4] or (None, None))


@contextmanager
def theme() -> Iterator[None]:
    """Draw within this: the house style, without touching the settings of the caller."""
    with mpl.rc_context(), sns.axes_style("whitegrid"):
        mpl.rcParams.update(_THEME)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) that belongs to no window and needs no closing."""
    return Figure(figsize=(width, height), layout="constrained")


def palette(count: int) -> list[tuple[float, float, float]]:
    """`count` colours from light to dark: told apart in grey and with every kind of colour vision."""
    colours: list[tuple[float, float, float]] = sns.color_palette("viridis_r", count + 1)[1:]
    return colours


def add_caption(figure: Figure, lines: Sequence[str]) -> None:
    """Say under the figure what its numbers stand on."""
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=6.5, color=GREY)


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write `path`.svg and `path`.png (200 dpi), making the folder; the same figure gives the same bytes.

    Raises HarnessError where nothing can be written.
    """
    svg, png = (path.with_name(path.name + ending) for ending in (".svg", ".png"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(svg, _bytes(figure, "svg", {"Date": None, "Creator": None}))
        write_atomically(png, _bytes(figure, "png", {"Software": None}))
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot write the plot ({error.strerror or error}); choose another folder"
        ) from None
    return svg, png


def _bytes(figure: Figure, form: str, metadata: dict[str, None]) -> bytes:
    content = io.BytesIO()
    with theme():
        figure.savefig(content, format=form, dpi=200, metadata=metadata)
    return content.getvalue()
