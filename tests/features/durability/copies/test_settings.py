"""The setting that names second homes for goals."""

import pytest

from outlast.core.errors import BadConfigError
from outlast.features.durability.settings import StoreSetting, read_settings


def test_stores_have_a_site_and_a_url() -> None:
    stores = {"s3": "s3://models/archive/", "nas": "file:///mnt/nas"}
    assert read_settings({"stores": stores}).stores == (
        StoreSetting("nas", "file:///mnt/nas"),
        StoreSetting("s3", "s3://models/archive"),
    )
    assert read_settings({}).stores == ()


@pytest.mark.parametrize(
    ("stores", "said"),
    [
        ("s3://models", "not a table"),
        ({"S3": "s3://models"}, "no name of a site"),
        ({"s3": "https://models"}, "s3: not the URL of a store"),
        ({"s3": "s3://key:secret@models"}, "not the URL of a store"),
        ({"s3": 7}, "s3 is not a text"),
        ({f"s{n}": "s3://models" for n in range(17)}, "more than 16"),
    ],
)
def test_others_are_refused(stores: object, said: str) -> None:
    with pytest.raises(BadConfigError, match=said):
        read_settings({"stores": stores})
