"""Writing figures: whole or not at all, and the same bytes on every run."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .plot import Plot
from .style import context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Without these, files would carry the time and the version of matplotlib.
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


def save(plot: Plot, folder: Path) -> tuple[Path, ...]:
    """Draw a figure and write it as PDF and PNG; the name's dot becomes a hyphen.

    Nothing is written before everything has been drawn, and no file is ever seen half-written.

    Args:
        plot: The figure.
        folder: Where to; made if it is not there.

    Returns:
        The files.

    Raises:
        OSError: If the folder or a file cannot be written.
    """
    figure = plot.draw()
    contents = {extension: render(figure, extension) for extension in METADATA}
    folder.mkdir(parents=True, exist_ok=True)
    stem = plot.name.replace(".", "-")
    return tuple(
        write_atomically(folder / f"{stem}.{extension}", content)
        for extension, content in contents.items()
    )


def render(figure: Figure, extension: str) -> bytes:
    """Return the bytes of the file, which depend on what is drawn alone."""
    buffer = io.BytesIO()
    with context():  # fonts are embedded as the settings of this moment say
        figure.savefig(buffer, format=extension, metadata=METADATA[extension])
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> Path:
    """Write to a file beside the path, then rename it, which cannot happen by halves."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path
