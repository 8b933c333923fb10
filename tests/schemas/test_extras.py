"""Tests of the sentence about a library that is not installed."""

import pytest

from singsong.schemas.extras import MissingLibraryError, extra_needed


def test_the_sentence_names_the_library_and_the_extra() -> None:
    said = r"^this needs nobody_has_it, which is not installed: pip install 'singsong\[train\]'$"
    with pytest.raises(MissingLibraryError, match=said), extra_needed("train", by="this"):
        raise ModuleNotFoundError("No module named 'nobody_has_it.part'", name="nobody_has_it.part")


def test_stores_name_their_own_extra() -> None:
    for library, extra in (("google.auth", "gcp"), ("gcsfs", "gcp"), ("s3fs", "s3")):
        said = rf"singsong\[{extra}\]"
        with pytest.raises(MissingLibraryError, match=said), extra_needed("prepare", by="this"):
            raise ModuleNotFoundError("none", name=library)


@pytest.mark.parametrize("name", ["singsong.gone", None])
def test_a_missing_module_of_ours_is_no_missing_library(name: str | None) -> None:
    with pytest.raises(ModuleNotFoundError, match="none"), extra_needed("train", by="this"):
        raise ModuleNotFoundError("none", name=name)
