"""The unfinished output of a prediction, which the same command takes up again.

`OUTPUT.partial` holds the pictures so far in `output/` and a journal with a line of JSON for each.
It is visible, unlike the temporary folders of `files`, because it is kept after an interruption.
Where the output is a file, there are no pictures.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detfinetune import console, files
from detfinetune.errors import OutputExistsError
from detfinetune.labels.dataset.manifest import JOURNAL_NAME


class Journal:
    """The images that are done, by name, with what was found in them.

    Attributes:
        folder: of the pictures.
        made: what becomes the output: the folder, or a file in it.
        done: lines of the journal by `file_name`.
    """

    def __init__(
        self, partial: Path, made_from: Mapping[str, Any], sources: Mapping[str, Any]
    ) -> None:
        """Open the journal in `partial`, or begin one.

        Args:
            partial: the unfinished output, locked.
            made_from: settings that all its images must share, as JSON values.
            sources: of each image, its `picture`, if there is one, and what changes when the
                image does; images whose source has changed are done again.

        Raises:
            OutputExistsError: it was begun with other settings.
        """
        self.folder = partial / "output"
        self.folder.mkdir(exist_ok=True)
        self.made = self.folder
        self._path = partial / JOURNAL_NAME
        before, *lines = self._read() or [dict(made_from)]
        changed = [key for key in made_from if before.get(key) != made_from[key]]
        if changed:
            earlier = ", ".join(f"{key}={before.get(key)}" for key in changed)
            raise OutputExistsError(
                f"{partial}: this holds an unfinished prediction with other settings ({earlier}). "
                "Rerun with those to finish it, remove it to begin anew, or choose another output."
            )
        self.done = {
            line["file_name"]: line
            for line in lines
            if line["source"] == sources.get(line["file_name"]) and self._picture(line).exists()
        }
        self._remove_others(map(self._picture, self.done.values()))
        files.write_text(self._path, "".join(map(_line, [made_from, *self.done.values()])))

    def add(self, line: dict[str, Any]) -> None:
        """Note that an image is done; its picture must have been written."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line(line))
        self.done[line["file_name"]] = line

    def _picture(self, line: Mapping[str, Any]) -> Path:
        return self.folder / str(line["source"].get("picture", ""))

    def _read(self) -> list[dict[str, Any]]:
        """Return the lines; the last one may be incomplete after a kill."""
        if not self._path.is_file():
            return []
        lines = []
        for text in self._path.read_text(encoding="utf-8").split("\n"):
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return lines

    def _remove_others(self, pictures: Iterable[Path]) -> None:
        """Remove pictures that are not in the journal."""
        for path in set(self.folder.rglob("*.jpg")).difference(pictures):
            if path.is_file():
                path.unlink()


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value) + "\n"


@contextmanager
def resumable_output(
    output: Path,
    overwrite: bool,
    keep: Iterable[Path],
    made_from: Mapping[str, Any],
    sources: Mapping[str, Any],
) -> Iterator[Journal]:
    """Yield the journal of `output`; on a clean exit what it has made becomes `output`.

    If the block is interrupted, what is done is kept.

    Raises:
        OutputExistsError: `output` exists and `overwrite` is false, another process is writing
            it, or it was begun with other settings.
    """
    partial = output.parent / f"{output.name}.partial"
    files.check_replaceable(partial, JOURNAL_NAME, keep)
    with files.locked(partial):
        # Another process may have finished it while this one came here.
        files.check_output(output, overwrite)
        journal = Journal(partial, made_from, sources)
        try:
            yield journal
            files.check_output(output, overwrite)
            files.swap_in(journal.made, output)
        except BaseException:
            if not journal.done:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            console.say(
                f"{len(journal.done)} of {len(sources)} images are done and kept in {partial}. "
                "Rerun the same command to go on from there, or remove the folder."
            )
            raise
        shutil.rmtree(partial, ignore_errors=True)
