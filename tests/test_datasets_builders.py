"""Every builder by TFDS's own test: it is registered, builds its dummy data, reads it back."""

import importlib
import pathlib

import tensorflow_datasets as tfds

from tf_deblur import datasets

FOLDER = pathlib.Path(__file__).parents[1] / "datasets"


def builder_case(name, splits, *configs):
    """A TFDS test case of the configurations whose splits hold so many examples."""
    module = importlib.import_module(f"tf_deblur.datasets.{name}.{name}_dataset_builder")
    facts = {
        "__module__": __name__,
        "DATASET_CLASS": module.Builder,
        "EXAMPLE_DIR": FOLDER / name / "dummy_data",
        "BUILDER_CONFIG_NAMES_TO_TEST": list(configs),
        "SPLITS": splits,
        "MOCK_OUT_FORBIDDEN_OS_FUNCTIONS": False,  # pictures are files here, never in a bucket
    }
    return type("Case", (tfds.testing.DatasetBuilderTestCase,), facts)


GoproTest = builder_case("gopro", {"train": 3, "test": 2}, "blur", "blur_gamma")
GoproAllTest = builder_case("gopro", {"train": 3, "test": 2}, "all")
ImagePairsTest = builder_case("image_pairs", {"train": 3, "validation": 1, "test": 1})
KohlerTest = builder_case("kohler", {"blurred": 3, "sharp": 5})
LaiTest = builder_case("lai", {"test": 2, "blurred": 2}, "uniform", "nonuniform")
LaiRealTest = builder_case("lai", {"blurred": 2}, "real")
SyntheticBlurTest = builder_case("synthetic_blur", {"train": 8, "validation": 8}, "mixed")
MiddlingTest = builder_case("synthetic_blur", {"train": 6, "validation": 6}, "middling")


def test_every_builder_is_tested_and_described():
    cases = [value for name, value in globals().items() if name.endswith("Test")]
    assert {case.DATASET_CLASS.name for case in cases} == set(datasets.NAMES)
    for case in cases:
        metadata = case.DATASET_CLASS.get_metadata()
        assert metadata.description and metadata.citation and metadata.tags
