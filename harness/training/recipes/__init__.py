"""Recipes by name: TOML files, registered by the folder, and the one that a name or a file stands for.

A recipe file holds the fields of Recipe that it changes and, apart from them, `about` (one line: what it is, whose it
is) and `base` (the recipe it starts from; Recipe's own defaults if none is named).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import DataError, UsageError
from harness.registry import Registry, load_plugins
from harness.toml_files import read_toml
from harness.training.recipe import Recipe, check_recipe
from harness.typed_json import from_plain

__all__ = ["about_recipe", "open_recipe", "recipes", "register_recipes"]

#: Name -> the file.
recipes: Registry[Path] = Registry("recipe", before_lookup=load_plugins)


def register_recipes(folder: Path) -> None:
    """Make every TOML file of a folder a recipe of its name."""
    for path in sorted(folder.glob("*.toml")):
        recipes.add(path.stem, path)


def open_recipe(source: str | Path) -> Recipe:
    """The recipe of a name, or of a file that ends in .toml; UsageError names the file and the field in it.

    >>> open_recipe("tiny").loss
    'spatial_cross_entropy'
    """
    path = _path(source)
    table = _merged(path, ())
    table.pop("about", None)
    try:
        recipe = from_plain(Recipe, table)
        check_recipe(recipe)
    except (DataError, UsageError) as problem:
        raise UsageError(f"{path}: {problem}") from None
    return recipe


def about_recipe(source: str | Path) -> str:
    """What a recipe says of itself."""
    return str(_table(_path(source)).get("about", ""))


def _path(source: str | Path) -> Path:
    return Path(source) if str(source).endswith(".toml") else recipes[str(source)]


def _table(path: Path) -> dict[str, Any]:
    return read_toml(path, kind=UsageError, remedy="give a recipe's name or a TOML file that is one")


def _merged(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The table of a file over that of its base; tables within it are merged by key."""
    if path in above:
        raise UsageError(f"{path}: is its own base ({' -> '.join(each.stem for each in (*above, path))})")
    table = _table(path)
    base = table.pop("base", None)
    if base is None:
        return table
    under = _merged(_path(path.parent / base if str(base).endswith(".toml") else str(base)), (*above, path))
    within = {key: {**under[key], **value} for key, value in table.items()
              if isinstance(value, dict) and isinstance(under.get(key), dict)}  # fmt: skip
    return {**under, **table, **within}


register_recipes(Path(__file__).parent)
