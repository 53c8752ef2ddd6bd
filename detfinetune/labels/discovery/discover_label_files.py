"""Match images with label files of one image each, split by split.

- a label file belongs to the image of the same path below its folder, apart from the suffix and
  `labels` for `images`; else, if its own folder holds no images, to the only image of that name
- the labels of a file without an image are rejected
- an image without a label file, or with an empty one, is a true negative, unless several splits
  share the image folder and only the labels show which split an image belongs to
- an image whose only label file has objects in a format that is not read is rejected
- of images that differ in their suffix only, the first by name has the label; the others are
  ignored
- with an image list, only listed images belong to the split; listed images that are missing are
  rejected
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from detfinetune.config.schema import DEFAULT_COLUMNS, DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.ledger import LedgerEntry
from detfinetune.labels.discovery.detect_format import FormatChoice
from detfinetune.labels.discovery.discovered import (
    DiscoveredDataset,
    ImageFile,
    SplitFiles,
    image_names,
    other_case_note,
    shown_path,
)
from detfinetune.labels.discovery.folders import is_label_name, names_below
from detfinetune.labels.discovery.layout import find_layout
from detfinetune.labels.discovery.match_images import NameFinder, label_key, match_labels
from detfinetune.labels.discovery.split_sources import SplitSource
from detfinetune.labels.discovery.unsupported import refuse_unsupported, refuse_visdrone
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
    discovered = DiscoveredDataset(
        root,
        choice,
        layout.found,
        folders,
        {},
        list(layout.notes),
        sizes=sizes,
        image_lists=tuple(s.image_list for s in layout.splits.values() if s.image_list),
    )
    unread = choice.seen.beside_by_stem(choice.suffix) if choice.seen else {}
    for split, source in layout.splits.items():
        discovered.splits[split] = _SplitMatcher(discovered, split, source, unread).match()
    labels = [image.label for files in discovered.splits.values() for image in files.images]
    labels = [label for label in labels if label]
    if data.columns == DEFAULT_COLUMNS and data.format in ("auto", "txt"):
        refuse_visdrone(root, labels)
    if not labels:
        refuse_unsupported(root)
        raise DataError(_no_pair(discovered, list(layout.splits.values())))
    return discovered


class _SplitMatcher:
    """The matching of one split."""

    def __init__(
        self,
        discovered: DiscoveredDataset,
        split: str,
        source: SplitSource,
        unread: Mapping[str, Sequence[str]],
    ) -> None:
        self.discovered = discovered
        self.split = split
        self.source = source
        self.unread = unread
        self.rejected = 0

    def match(self) -> SplitFiles:
        source = self.source
        if self.discovered.sizes is not None:
            names = list(self.discovered.sizes)
        else:
            names = image_names(source.images or self.discovered.root)
        missing: list[str] = []
        listed = names
        if source.image_list is not None:
            listed, missing = self._listed(names, source.image_list)
        labels = self._label_paths(names)
        wanted = set(listed)
        # Images that are not listed have label files of their own; listed ones choose first.
        matched = match_labels([*sorted(wanted), *sorted(set(names) - wanted)], labels)
        self._reject_sharing({n: first for n, first in matched.sharing.items() if n in wanted})
        images = sorted(wanted - set(matched.sharing))
        self.discovered.notes += other_case_note(
            shown_path(source.labels, self.discovered.root),
            {n: labels[matched.label_of[n]] for n in matched.other_case if n in wanted},
        )
        if source.only_labelled:
            images = [name for name in images if name in matched.label_of]
        elif unclear := sorted(wanted.intersection(matched.ambiguous)):
            self.discovered.notes.append(
                f"{source.images}: {len(unclear)} images, such as {unclear[0]}, count as images "
                "without objects: the label files of their names lie in other folders, and several "
                "images or label files have these names. Give data.images=FOLDER data.labels=FOLDER"
            )
        images = [n for n in images if n in matched.label_of or not self._reject_unread(n)]
        orphans = self._orphans(labels, matched.label_of, missing)
        return SplitFiles(
            image_root=source.images or self.discovered.root,
            images=tuple(
                ImageFile(name, labels.get(matched.label_of.get(name, ""), "")) for name in images
            ),
            orphans=tuple(ImageFile("", labels[key]) for key in sorted(orphans)),
            rejected_images=self.rejected,
        )

    def _label_paths(self, names: Iterable[str]) -> dict[str, str]:
        """Return the label files by key; a read-me is one if an image has its name."""
        keys = {label_key(name) for name in names}
        suffix = self.discovered.format.suffix
        place = shown_path(self.source.labels, self.discovered.root)
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
        # Other label files belong to other splits, or to none.
        stems = {PurePosixPath(label_key(name)).name for name in missing}
        return {key for key in labels if PurePosixPath(key).name in stems} - set(label_of.values())

    def _listed(self, names: list[str], list_path: Path) -> tuple[list[str], list[str]]:
        """Return the listed images, and the entries that match no image."""
        find = NameFinder(names)
        found: dict[str, int] = {}
        missing: list[str] = []
        shown = shown_path(list_path, self.discovered.root)
        for number, line in enumerate(read_text_file(list_path).lines, start=1):
            if not line or line.startswith("#"):
                continue
            name = find(line)
            if name is None:
                missing.append(line)
                self.rejected += 1
                self._enter(shown, number, "missing image", find.why_not(line), line)
            elif name in found:
                reason = f"'{name}' is listed already on line {found[name]}"
                self._enter(shown, number, "listed twice", reason, line, rejected=False)
            else:
                found[name] = number
        self.discovered.notes += other_case_note(shown, find.other_case)
        if len(missing) > len(found):
            raise DataError(
                f"{shown}: {len(missing)} of {len(missing) + len(found)} listed images are not in "
                f"{self.source.images or 'the image sizes'}, such as '{missing[0]}'. Is it the "
                "list of these images? Give another with data.image_list=FILE."
            )
        return list(found), missing

    def _reject_sharing(self, sharing: dict[str, str]) -> None:
        for name, first in sorted(sharing.items()):
            self.rejected += 1
            reason = f"has the same label file as '{first}'; this image is ignored"
            self._enter(self._shown(name), 0, "same stem", reason, image=name)

    def _reject_unread(self, name: str) -> bool:
        """Reject an image without a label file if one of another format has objects."""
        last = name.rpartition("/")[2].casefold()
        files = (*self.unread.get(label_key(last), ()), *self.unread.get(last, ()))
        seen = self.discovered.format.seen
        path = next((file for file in files if seen and seen.holds_objects(file)), None)
        if path is None:
            return False
        self.rejected += 1
        reason = f"its labels ({path}) are not in the format that is read; this image is ignored"
        self._enter(self._shown(name), 0, "labels not read", reason, image=name)
        return True

    def _shown(self, name: str) -> str:
        root = self.discovered.root
        return shown_path((self.source.images or root) / name, root)

    def _enter(
        self, path: str, line: int, kind: str, reason: str, text: str = "", rejected: bool = True,
        image: str = "",
    ) -> None:  # fmt: skip
        # Lines of a list are not label lines: the number goes into the path.
        where = f"{path}:{line}" if line else path
        action = "rejected" if rejected else "note"
        self.discovered.entries.append(
            LedgerEntry(self.split, where, 0, action, kind, reason, text, image)  # type: ignore[arg-type]
        )


def _no_pair(discovered: DiscoveredDataset, sources: list[SplitSource]) -> str:
    lines = []
    for source, files in zip(sources, discovered.splits.values(), strict=True):
        example = files.images[0].name if files.images else "no image"
        lines.append(f"  images in {source.images}, such as {example}; labels in {source.labels}")
    listed = "\n".join(lines)
    suffix = discovered.format.suffix
    return (
        f"{discovered.root}: no label file has the name of an image (a{suffix} for a.jpg) in "
        f"{discovered.found}:\n{listed}\nGive data.images=FOLDER and data.labels=FOLDER."
    )
