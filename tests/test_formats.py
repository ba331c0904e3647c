"""A format is one row, and what depends on formats follows from it."""

import pathlib

import numpy as np
import pytest

from tf_deblur.pictures import formats, photographs
from tf_deblur.restoring import pipeline

DOCS = pathlib.Path(__file__).parents[1] / "docs/reference/formats.md"
WRITTEN = [row for row in formats.FORMATS if row.save]


def test_the_docs_table_says_what_the_rows_say():
    told = DOCS.read_text().splitlines()
    for row in formats.FORMATS:
        longest = f"{row.longest:,}" if row.longest else "any"
        facts = ["itself", str(row.bits), "yes" if row.alpha else "no", longest]
        if row.becomes:
            facts = [row.becomes, "–", "–", "–"]
        assert f"| {' | '.join([row.name, ', '.join(row.suffixes), *facts])} |" in told


def test_no_two_formats_share_a_suffix():
    assert len(set(formats.READ)) == len(formats.READ)


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_what_is_written_is_read_as_the_same_format_whatever_its_name(row, picture, tmp_path):
    path = tmp_path / "photo.any"
    path.write_bytes(photographs.encode(row.suffix, picture(24, 32)))
    assert photographs.open_photograph(path).suffix == row.suffix
    assert row in formats.find_by_start(path.read_bytes())
    deep = photographs.encode(row.suffix, picture(24, 32).astype(np.uint16) * 257)
    assert (photographs.open_photograph(deep).pixels.dtype == np.uint16) == (row.bits > 8)


def test_bytes_of_a_name_that_tells_no_format_keep_their_own(picture):
    data = photographs.encode(".webp", picture(24, 32))
    settings = pipeline.Settings(check=False)
    model = pipeline.Pipeline(lambda pixels, progress: pixels, settings)
    for name, kind in {"a.bin": "WebP", "a": "WebP", "a.PNG": "PNG"}.items():
        made = model.restore_bytes(data, name, pathlib.Path(name))
        assert [row.name for row in formats.find_by_start(made)] == [kind]
