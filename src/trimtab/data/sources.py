"""The door of the data room: what is at a path, or behind the name of a built-in set.

Each kind of data has its own module; this one only chooses and says what is wrong with a path.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from trimtab.data.builtin import BUILTINS, open_builtin
from trimtab.data.dataset import Source
from trimtab.errors import InputError, nearest

_CSV = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")
_EXPECTED = f"a folder of class folders, a .csv, .parquet or .npz file, or one of {', '.join(BUILTINS)}"


def open_source(
    data: str | Path,
    *,
    target: str | None = None,
    group: str | None = None,
    time: str | None = None,
    skip_unreadable: bool = False,
) -> Source:
    """Return what was found, without decoding pictures.

    Parameters
    ----------
    data
        A path, or the name of a built-in set (a text of just that name).
    target
        The column that holds the classes of a table; a Parquet file of pictures has ``label`` by default, an
        ``.npz`` file ``y``.
    group
        A column whose equal values must not be divided between training and test.
    time
        A column of numbers or dates that says which rows are earlier; it stays a feature where it is of use as one.
    skip_unreadable
        Leave pictures that cannot be read out, with a warning, however many they are.

    Raises
    ------
    InputError
        If there is nothing usable: the sentence says what is there, what was expected and what to do.
    """
    if isinstance(data, str) and data in BUILTINS:
        _refuse_options(data, target, group, time)
        return _with_warning(open_builtin(data), data)
    path = Path(data)
    with suppress(RuntimeError):  # no such user
        path = path.expanduser()
    if not str(data) or not _exists(path):
        raise _missing(str(data), path)
    name = _short_name(path)
    if path.is_dir():
        _refuse_options(str(path), target, group, time)
        from trimtab.data.folder import open_folder

        return open_folder(path, name=name, skip_unreadable=skip_unreadable)
    columns = {"target": target, "group": group, "time": time}
    return _open_file(path, name, columns, skip_unreadable=skip_unreadable)


def _open_file(path: Path, name: str, columns: dict[str, str | None], *, skip_unreadable: bool) -> Source:
    _check_readable(path)
    suffix = path.suffix.lower()
    if suffix in _CSV:
        from trimtab.data.tables import open_csv

        return open_csv(path, name=name, **columns)
    if suffix in _PARQUET:
        return _open_parquet(path, name, columns, skip_unreadable=skip_unreadable)
    if suffix == ".npz":
        from trimtab.data.arrays import open_npz

        return open_npz(path, name=name, **columns)
    is_archive = suffix in (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar", ".xz", ".bz2")
    raise InputError(
        f"{path} is a file of an unknown kind ({suffix or 'no suffix'})",
        _EXPECTED,
        "unpack it and give the folder" if is_archive else "convert it to one of these",
    )


def _open_parquet(path: Path, name: str, columns: dict[str, str | None], *, skip_unreadable: bool) -> Source:
    import pyarrow as pa

    from trimtab.data.parquet import open_parquet_pictures
    from trimtab.data.tables import open_parquet_table

    try:
        pictures = open_parquet_pictures(path, name=name, skip_unreadable=skip_unreadable, **columns)
        return pictures or open_parquet_table(path, name=name, **columns)
    except (pa.ArrowInvalid, OSError) as error:  # Arrow's word for damaged files
        reason = str(error).splitlines()[0][:100]
        raise InputError(
            f"{path.name} cannot be read ({reason})", "a Parquet file", "write or copy it again"
        ) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False


def _check_encodable(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="replace").decode()
        raise InputError(f"the name {shown} is not UTF-8", "a name that is", "rename the file or folder") from error


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror})", "a readable file", "change its permissions"
        ) from error


def _missing(given: str, path: Path) -> InputError:
    siblings = []
    if _exists(path.parent) and path.parent.is_dir():
        siblings = [str(path.parent / entry.name) for entry in _list(path.parent) if entry.name[:1] != "."]
    hint = nearest(given, [*siblings, *BUILTINS])
    return InputError(f"there is no '{given}'", _EXPECTED, f"{hint}check the path")


def _list(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _refuse_options(data: str, target: str | None, group: str | None, time: str | None) -> None:
    options = {"target": target, "group": group, "time": time}
    given = [f"--{option} {value}" for option, value in options.items() if value is not None]
    if given:
        raise InputError(
            f"{data} has no columns to choose from but {' and '.join(given)} was given",
            "these options for tables and Parquet files only",
            "leave them out",
        )


def _with_warning(source: Source, name: str) -> Source:
    if not Path(name).exists():
        return source
    text = f"'{name}' is the built-in set; for what is here under that name write ./{name}"
    return replace(source, warnings=(text, *source.warnings))


def _short_name(path: Path) -> str:
    """Return a name that is fit for a folder: letters, digits, dot, dash and underscore."""
    resolved = path.resolve()
    stem = resolved.name if path.is_dir() else resolved.stem
    return re.sub(r"[^\w.\-]+", "-", stem).strip("-.") or "data"
