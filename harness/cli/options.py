"""Options that several verbs share, and the defaults that a harness.toml may set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.cli.numbers import Number
from harness.errors import UsageError
from harness.toml_files import read_toml

__all__ = [
    "OVERWRITE_RECORDS",
    "data_options",
    "data_root_option",
    "format_option",
    "overwrite_option",
    "results_option",
    "run_options",
]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: What --overwrite means for verbs that make records.
OVERWRITE_RECORDS = "always: run everything again; never: not where a record is; missing: what is missing or damaged."


def results_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--results DIR: where records go and are read from."""
    return click.option(
        "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True,
        help="Folder where records go and are read from.",
    )(function)  # fmt: skip


def format_option(*choices: str) -> Decorator:
    """--format, with the first choice as the default."""
    return click.option(
        "--format", "style", type=click.Choice(choices), default=choices[0], show_default=True,
        help="Form of the output.",
    )  # fmt: skip


def data_root_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--data-root DIR; a harness.toml in that folder sets defaults for the other options of the verb."""
    return click.option(
        "--data-root", type=click.Path(path_type=Path), is_eager=True, callback=_read_defaults,
        help="Folder of the data set; not needed for synthtrack.",
    )(function)  # fmt: skip


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--dataset, --data-root and --split."""
    for option in reversed((
        click.option("--dataset", default="synthtrack", show_default=True,
                     help="A name of `harness data list`."),
        data_root_option,
        click.option("--split", default="val", show_default=True, help="train, val or test."),
    )):  # fmt: skip
        function = option(function)
    return function


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What decides how a method runs: preset, weights, boxes, batch, device, precision, limits."""
    for option in reversed((
        click.option("--preset", help="Size of the method; `harness methods show M` lists them."),
        click.option("--weights", help="A weights file, or a name of `harness weights list`."),
        click.option("--codec", help="Read the outputs otherwise: heatmap, dark, udp or dsnt for maps."),
        click.option("--boxes", default="truth", show_default=True,
                     help="truth, or a detector's JSON file: a list of {bbox [x, y, w, h], score, category_id (1), "
                          "image_name or image_id, optionally track_id}."),
        click.option("--min-box-score", type=Number(), default=0.2, show_default=True,
                     help="Detector boxes scored lower are left out."),
        click.option("--box-enlarge", type=Number(0, 100, min_open=True), default=1.0, show_default=True,
                     help="Factor on the sides of every box, before the method's own."),
        click.option("--nms", type=click.Choice(["none", "oks", "soft-oks", "pose", "pose-original"]), default="none",
                     show_default=True, help="Suppression of poses found twice: by OKS, or RMPE's parametric rule "
                                             "as used now or as first released."),
        click.option("--nms-threshold", type=Number(0), help="Similarity above which two poses are one person; "
                                                         "by default 0.9 for OKS, 22.48 for the parametric rules."),
        click.option("--track", type=click.Choice(["none", "iou", "oks"]), default="none", show_default=True,
                     help="Track ids: for boxes by overlap (iou), or for the poses found by OKS and overlap (oks)."),
        click.option("--batch-size", type=click.IntRange(1), help="Clips per batch; by default what suits the device. "
                                                                  "Halved where memory does not suffice."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--precision", type=click.Choice(["fp32", "tf32", "bf16", "fp16"]), default="fp32",
                     show_default=True, help="What networks compute in."),
        click.option("--crop-path", type=click.Choice(["reference", "device"]), default="reference", show_default=True,
                     help="Crops by OpenCV, or by the same rule on the device from frames uploaded once."),
        click.option("--fold/--no-fold", default=False, show_default=True,
                     help="Fold batch normalisation into convolutions: faster, and changes rounding only."),
        click.option("--compile", "compiler", type=click.Choice(["none", "default", "graphs"]), is_flag=False,
                     flag_value="default", default="none", show_default=True,
                     help="torch.compile, on a GPU with CUDA graphs too: takes a minute first, changes rounding only."),
        click.option("--deterministic", is_flag=True, help="Only algorithms that repeat themselves bit for bit."),
        click.option("--keep-going", is_flag=True, help="Leave out sequences that fail and list them at the end."),
        click.option("--flip/--no-flip", default=None, help="Flip test; the preset decides by default."),
        click.option("--limit", type=click.IntRange(1), help="Only the first N sequences; not comparable."),
        click.option("--allow-missing-frames", is_flag=True, help="Leave out sequences without their images."),
    )):  # fmt: skip
        function = option(function)
    return function


def overwrite_option(text: str) -> Decorator:
    """--overwrite, with what its values mean for the verb; "always" where none is given."""
    return click.option(
        "--overwrite", type=click.Choice(["always", "never", "missing"]), is_flag=False, flag_value="always",
        default="missing", show_default=True, help=text,
    )  # fmt: skip


def _read_defaults(ctx: click.Context, _: click.Parameter, root: Path | None) -> Path | None:
    """Take defaults from harness.toml beside the data: a table per verb, keys named as the options."""
    path = root / "harness.toml" if root else None
    if path is not None and path.is_file():
        table: Any = read_toml(path, kind=UsageError, remedy="correct or remove it").get(ctx.info_name or "", {})
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {ctx.info_name} is {table!r}, expected a table: [{ctx.info_name}]")
        known = {parameter.name: parameter for parameter in ctx.command.params}
        named = {key.replace("-", "_"): value for key, value in table.items()}
        for key, value in named.items():
            if key not in known:
                raise UsageError(f"{path}: [{ctx.info_name}] has '{key}', which is no option of this command")
            record = f"{path}: [{ctx.info_name}] {key}"
            named[key] = _as_typed(value, known[key], record)
            _check(named[key], known[key], ctx, record)
        ctx.default_map = {**(ctx.default_map or {}), **named}
    return root


def _check(value: Any, option: click.Parameter, ctx: click.Context, record: str) -> None:
    """Raise UsageError for a value that click would refuse later, without saying where it stands."""
    try:
        option.type_cast_value(ctx, value)
    except (click.BadParameter, TypeError) as problem:
        raise UsageError(f"{record}: {getattr(problem, 'message', problem)}") from None


def _as_typed(value: Any, option: click.Parameter, record: str) -> Any:
    """A value of harness.toml as somebody would have typed it, for click to convert; a list where options repeat."""
    if isinstance(value, list) and getattr(option, "multiple", False):
        return [_as_typed(item, option, record) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return str(value)
    raise UsageError(f"{record} is {value!r}, expected a text, a number, true or false")
