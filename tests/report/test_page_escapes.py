"""Whatever stands in labels and names, it stays text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_tables import table_of
from page_parts import Page

from detfinetune.checks.findings import Finding, Place
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry
from detfinetune.labels.dataset.records import Annotation, ImageRecord
from detfinetune.report.page import write_dataset_page


def _hostile_page(folder: Path, text: str) -> Page:
    """Return a page with `text` in every place that a label file or a folder can put it."""
    table = table_of(folder, [ImageRecord(f"{text}.png", 9, 9, (Annotation(0, (0, 0, 5, 5)),))])
    ledger = Ledger([LedgerEntry(text, text, 1, "rejected", text, text, text)])
    place = Place(text, text, text, 1, text, (0, 0, 5, 5), category=0, other=Place(text, text))
    finding = Finding("kind", "error", text, text, (place,), {text: text})
    dataset = LabelledDataset(
        text, folder, text, text, (text,), text, {"train": table}, ledger, (text,)
    )
    write_dataset_page(folder / "p.html", dataset, [finding])
    return Page((folder / "p.html").read_text(encoding="utf-8"))


@settings(max_examples=60, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=40),
        st.text(alphabet="<>&\"'/=`{}%# ax-!", min_size=1, max_size=40),
        st.sampled_from(["</style><script>1</script>", "{{ 7 * 7 }}", "--><b", "]]>", "x" * 3000]),
    )
)
def test_no_text_makes_elements(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    calm = _hostile_page(folder, "calm")
    page = _hostile_page(folder, text)
    # Empty texts leave out what they would stand in.
    if text.strip():
        assert [tag for tag, _ in page.elements] == [tag for tag, _ in calm.elements]
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in calm.elements}
