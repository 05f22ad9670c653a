"""A folder of class folders, or of train, val and test folders that hold class folders.

The name of the folder is the class; pictures may lie deeper. Hidden files are not looked at, other files are
counted in a warning. Nothing is decoded here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from trimtab.data.cache import hash_files
from trimtab.data.dataset import Source
from trimtab.data.decoding import BATCH
from trimtab.data.images import SUFFIXES
from trimtab.data.labels import quote, read_labels
from trimtab.data.pictures import PictureSet, picture_source
from trimtab.errors import InputError

_PARTS = {
    "train": 0,
    "training": 0,
    "val": 1,
    "valid": 1,
    "validation": 1,
    "dev": 1,
    "test": 2,
    "testing": 2,
}
_SAMPLE = 256
_LAYOUT = "a folder per class with pictures in it"


class FolderPictures:
    """Files below ``root``, by their paths relative to it; ``names`` are these as printable text."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self._root, self._paths = root, paths
        self.names: Sequence[str] = [_printable(path) for path in paths]

    def read(self, row: int) -> bytes:
        """Return the content of one file."""
        return (self._root / self._paths[row]).read_bytes()

    def batches(self) -> Iterator[tuple[range, Callable[[int], bytes]]]:
        """Yield rows; the files are read by the thread that decodes them."""
        for start in range(0, len(self.names), BATCH):
            yield range(start, min(start + BATCH, len(self.names))), self.read

    def sample(self) -> Sequence[int]:
        """Return rows spread evenly."""
        return spread(len(self.names), _SAMPLE)

    def contents_hash(self, *, progress: bool) -> str:
        """Return a hash of all files."""
        return hash_files([os.path.join(self._root, path) for path in self._paths], progress=progress)


def open_folder(root: Path, *, name: str, skip_unreadable: bool = False) -> Source:
    """Return the source for a folder of pictures.

    Raises
    ------
    InputError
        If there are no class folders with pictures, the classes cannot be learned, or pictures cannot be read.
    """
    parts = _part_folders(root)
    files, ignored = _Files(), Counter[str]()
    for part, directory in parts or [(-1, root)]:
        _collect(root, directory, part, files, ignored)
    if not files.names:
        raise _no_pictures(root, ignored)
    numbers = np.array(files.parts, dtype=np.int8) if parts else None
    if numbers is not None and not (numbers == 0).any():
        raise InputError(
            f"{root} has no pictures for training", "a train folder with class folders", "add train/<class>/<picture>"
        )
    _check_nesting(root, files)
    labels = read_labels(files.labels, where=str(root), parts=numbers, is_column=False)
    found = PictureSet(
        name=name,
        where=str(root),
        pictures=FolderPictures(root, files.names),
        labels=labels,
        parts=numbers,
        warnings=(*_warn_ignored(ignored, files.empty), *_warn_parts(parts, files)),
        skip_unreadable=skip_unreadable,
    )
    return picture_source(found)


def spread(total: int, most: int) -> list[int]:
    """Return at most ``most`` rows of ``total``, evenly spread."""
    return sorted({int(row) for row in np.linspace(0, total - 1, min(most, total))})


class _Files:
    """Pictures found so far: relative name, class and part of each; and class folders without any."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.labels: list[str] = []
        self.parts: list[int] = []
        self.empty: list[str] = []


def _part_folders(root: Path) -> list[tuple[int, Path]]:
    """Return the part folders, or nothing when the folders of ``root`` are classes."""
    folders = _subfolders(root)
    parts = sorted((_PARTS.get(folder.name.lower(), -1), folder) for folder in folders)
    if not any(part == 0 for part, _ in parts) or any(part == -1 for part, _ in parts):
        return []
    flat = [folder.name for _, folder in parts if not _subfolders(folder) and _has_pictures(folder)]
    if flat:
        raise InputError(
            f"{root / flat[0]} holds pictures that are not in class folders",
            f"{flat[0]}/<class>/<picture>",
            "move the pictures into a folder per class",
        )
    return parts


def _collect(root: Path, directory: Path, part: int, files: _Files, ignored: Counter[str]) -> None:
    ignored.update(_kind(entry.name) for entry in _entries(directory) if not entry.is_dir())
    for folder in _subfolders(directory):
        before = len(files.names)
        for name in _walk(root, folder):
            if _kind(name) in SUFFIXES:
                files.names.append(name)
            else:
                ignored[_kind(name)] += 1
        added = len(files.names) - before
        files.labels += [_printable(folder.name)] * added
        files.parts += [part] * added
        if not added:
            files.empty.append(folder.relative_to(root).as_posix())


def _walk(root: Path, folder: Path) -> Iterator[str]:
    """Yield the files below a folder, relative to ``root``, in a fixed order; a link in a circle is not followed."""
    seen: set[str] = set()
    for directory, subfolders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        if (real := os.path.realpath(directory)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        prefix = Path(directory).relative_to(root).as_posix()
        yield from (f"{prefix}/{name}" for name in sorted(names) if not name.startswith("."))


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise _unlistable(error) from error


def _refuse(error: OSError) -> None:
    raise _unlistable(error) from error


def _unlistable(error: OSError) -> InputError:
    given = f"the folder {error.filename} cannot be listed ({error.strerror})"
    return InputError(given, "a readable folder", "change its permissions")


def _subfolders(directory: Path) -> list[Path]:
    return [entry for entry in _entries(directory) if entry.is_dir()]


def _has_pictures(directory: Path) -> bool:
    return any(entry.suffix.lower() in SUFFIXES for entry in _entries(directory))


def _printable(name: str) -> str:
    """Replace bytes of a file name that are not UTF-8, which could not be written to any report."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def _kind(name: str) -> str:
    return os.path.splitext(name)[1].lower() or "no suffix"


def _no_pictures(root: Path, ignored: Counter[str]) -> InputError:
    example = f"{root.name or 'folder'}/<class>/<picture>"
    if any(kind in SUFFIXES for kind in ignored):
        return InputError(f"the pictures in {root} are not in class folders", _LAYOUT, f"arrange them as {example}")
    given = f"{root} holds no pictures" if ignored or _entries(root) else f"{root} is empty"
    if ignored:
        given += f" (only {_list_kinds(ignored)})"
    if ignored.keys() & {".csv", ".parquet", ".npz"}:
        return InputError(given, _LAYOUT, f"to use a file in it give the path of that file, else arrange as {example}")
    return InputError(given, _LAYOUT, f"arrange them as {example}; JPEG, PNG, WebP, BMP, GIF and TIFF are read")


def _check_nesting(root: Path, files: _Files) -> None:
    """Notice photos/photos/<class>/...: an archive unpacked into a folder of its own name."""
    classes = set(files.labels)
    if len(classes) > 1:
        return
    only = next(iter(classes))
    inner = _subfolders(root / only) if (root / only).is_dir() else []
    if len(inner) > 1:
        raise InputError(
            f"{root} has one class folder only ('{only}'), which holds {len(inner)} folders",
            "at least two class folders",
            f"did you mean {root / only}? give that path",
        )


def _warn_ignored(ignored: Counter[str], empty: Sequence[str]) -> list[str]:
    warnings = []
    if total := sum(ignored.values()):
        word = "file that is not a picture" if total == 1 else "files that are not pictures in class folders"
        warnings.append(f"ignored {total:,} {word} ({_list_kinds(ignored)})")
    if empty:
        warnings.append(f"ignored the folders without pictures {quote(empty)}")
    return warnings


def _warn_parts(parts: list[tuple[int, Path]], files: _Files) -> list[str]:
    present = set(files.parts)
    return [
        f"'{folder.name}' has no pictures: that part is taken from the training pictures"
        for part, folder in parts
        if part not in present
    ]


def _list_kinds(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common(4))
