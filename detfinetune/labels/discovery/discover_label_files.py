"""Brings images and label files together, split by split, before a single label is read.

- a label file belongs to the image of the same path below its folder, but for the ending; where
  the folders are not mirrored, to the only image of that name
- a label file without an image: its labels are all rejected
- an image without a label file is a true negative (and so is one whose label file is empty),
  unless several splits share the image folder and only the labels say what belongs to which
- of several images that differ in their ending alone, the first by name has the label; the
  others are left out
- with an image list, only listed images belong to the split; listed images that are missing are
  rejected
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.ledger import LedgerEntry
from detfinetune.labels.discovery.detect_format import FormatChoice
from detfinetune.labels.discovery.discovered import (
    DiscoveredDataset,
    ImageFile,
    SplitFiles,
    image_names,
    shown_path,
)
from detfinetune.labels.discovery.folders import is_label_name, names_below
from detfinetune.labels.discovery.layout import find_layout
from detfinetune.labels.discovery.match_images import NameFinder, label_key, match_labels
from detfinetune.labels.discovery.split_sources import SplitSource
from detfinetune.labels.discovery.unsupported import refuse_unsupported, refuse_visdrone
from detfinetune.labels.formats.lines.txt import DEFAULT_COLUMNS
from detfinetune.labels.images.sizes import read_size_table
from detfinetune.labels.text import read_text_file


def discover_label_files(data: DataConfig, root: Path, choice: FormatChoice) -> DiscoveredDataset:
    """Find and match the images and label files of a format with a label file an image.

    Raises:
        ConfigError, DataError: nothing usable is there.
    """
    layout = find_layout(data, root, choice.suffix)
    sizes = read_size_table(root / data.image_sizes) if data.image_sizes else None
    folders = [source.labels for source in layout.splits.values()]
    gathered = DiscoveredDataset(
        root,
        choice,
        layout.found,
        folders,
        {},
        list(layout.notes),
        sizes=sizes,
        image_lists=tuple(s.image_list for s in layout.splits.values() if s.image_list),
    )
    for split, source in layout.splits.items():
        gathered.splits[split] = _SplitGatherer(gathered, split, source).gather()
    labels = [image.label for files in gathered.splits.values() for image in files.images]
    labels = [label for label in labels if label]
    if data.columns == DEFAULT_COLUMNS and data.format in ("auto", "txt"):
        refuse_visdrone(root, labels)
    if not labels:
        refuse_unsupported(root)
        raise DataError(_no_pair(gathered, list(layout.splits.values())))
    return gathered


class _SplitGatherer:
    """The matching of one split."""

    def __init__(self, gathered: DiscoveredDataset, split: str, source: SplitSource) -> None:
        self.gathered = gathered
        self.split = split
        self.source = source
        self.rejected = 0

    def gather(self) -> SplitFiles:
        source = self.source
        if self.gathered.sizes is not None:
            names = list(self.gathered.sizes)
        else:
            names = image_names(source.images or self.gathered.root)
        missing: list[str] = []
        listed = names
        if source.image_list is not None:
            listed, missing = self._listed(names, source.image_list)
        labels = self._label_paths(names)
        matched = match_labels(sorted(listed), labels)
        self._reject_sharing(matched.sharing)
        images = sorted(set(listed) - set(matched.sharing))
        if source.only_labelled:
            images = [name for name in images if name in matched.label_of]
        orphans = self._orphans(labels, matched.label_of, missing)
        return SplitFiles(
            image_root=source.images or self.gathered.root,
            images=tuple(
                ImageFile(name, labels.get(matched.label_of.get(name, ""), "")) for name in images
            ),
            orphans=tuple(ImageFile("", labels[key]) for key in sorted(orphans)),
            rejected_images=self.rejected,
        )

    def _label_paths(self, names: Iterable[str]) -> dict[str, str]:
        """Return the label files by key. A file called like a read-me counts beside its image."""
        keys = {label_key(name) for name in names}
        suffix = self.gathered.format.suffix
        place = shown_path(self.source.labels, self.gathered.root)
        prefix = "" if place == "." else f"{place}/"
        found = {}
        for name in names_below(self.source.labels):
            if name.lower().endswith(suffix):
                key = label_key(name)
                if is_label_name(name, suffix) or key in keys:
                    found[key] = prefix + name
        return found

    def _orphans(
        self, labels: dict[str, str], label_of: dict[str, str], missing: list[str]
    ) -> set[str]:
        if self.source.image_list is None:
            return set(labels) - set(label_of.values())
        # What is not listed belongs to other splits, or to none.
        stems = {PurePosixPath(label_key(name)).name for name in missing}
        return {key for key in labels if PurePosixPath(key).name in stems} - set(label_of.values())

    def _listed(self, names: list[str], list_path: Path) -> tuple[list[str], list[str]]:
        """Return the images that the list names, and the entries that no image fits."""
        find = NameFinder(names)
        found: dict[str, int] = {}
        missing: list[str] = []
        shown = shown_path(list_path, self.gathered.root)
        for number, line in enumerate(read_text_file(list_path).lines, start=1):
            if not line or line.startswith("#"):
                continue
            name = find(line)
            if name is None:
                missing.append(line)
                self.rejected += 1
                self._enter(shown, number, "missing image", find.why_not(line), line)
            elif name in found:
                reason = f"'{name}' is listed already in line {found[name]}"
                self._enter(shown, number, "listed twice", reason, line, rejected=False)
            else:
                found[name] = number
        if len(missing) > len(found):
            raise DataError(
                f"{shown}: {len(missing)} of {len(missing) + len(found)} listed images are not in "
                f"{self.source.images or 'the image sizes'}, such as '{missing[0]}'. Is it the "
                "list that belongs to these images? Give another with data.image_list=FILE."
            )
        return list(found), missing

    def _reject_sharing(self, sharing: dict[str, str]) -> None:
        for name, first in sorted(sharing.items()):
            self.rejected += 1
            reason = (
                f"has the same label file as '{first}', which differs in its ending alone; this "
                "image is left out"
            )
            path = shown_path((self.source.images or self.gathered.root) / name, self.gathered.root)
            self._enter(path, 0, "same stem", reason, image=name)

    def _enter(
        self, path: str, line: int, kind: str, reason: str, text: str = "", rejected: bool = True,
        image: str = "",
    ) -> None:  # fmt: skip
        # Lines of lists are no label lines: their entries carry the number in the path.
        where = f"{path}:{line}" if line else path
        action = "rejected" if rejected else "note"
        self.gathered.entries.append(
            LedgerEntry(self.split, where, 0, action, kind, reason, text, image)  # type: ignore[arg-type]
        )


def _no_pair(gathered: DiscoveredDataset, sources: list[SplitSource]) -> str:
    lines = []
    for source, files in zip(sources, gathered.splits.values(), strict=True):
        example = files.images[0].name if files.images else "no image"
        lines.append(f"  images in {source.images}, such as {example}; labels in {source.labels}")
    listed = "\n".join(lines)
    suffix = gathered.format.suffix
    return (
        f"{gathered.root}: no label file has the name of an image (a{suffix} for a.jpg), taking "
        f"{gathered.found}:\n{listed}\nGive data.images=FOLDER and data.labels=FOLDER."
    )
