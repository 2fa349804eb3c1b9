"""PDQ, against what Meta's own C++ (package `pdqhash` 0.2.8) gave for the same squares."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage import data

from ingest import pdq

# Picture: quality, and the eight variants as `pdqhash.compute_dihedral` returned them.
REFERENCE = {
    "astronaut": (
        100,
        (
            "2d2f1af3a856c529679ca3d2536ba836d4196c81defd04de0826b85dfc19b724",
            "3da76519ad47bd58f56e670c4e2161fe4c7299cbd32992499ab650c2e7182d19",
            "387af059fd236f83b2c9057c063e02dc814cc62b8ba8ae745d7352f7a9cc1d8e",
            "60f2cfb3f81217f2a03bc9a61b74cb5419253261866c38e3cfe3f868b24d87b3",
            "6d2fe50ca85632d6679c5029536b5789d419937edefdfb01082607a2fc1948db",
            "387a4fa6fd03987cb2c9fe83063afd63814c39d48ba8518b5d73ad08a9cce271",
            "35a71ae2ad4742a7e16e98f34e219e014c706634d3296db69ab6a93de718d2e6",
            "68f2704cf812e80db03b36591b7434ab1927cd9ea67cc71ccfe30797b24d784c",
        ),
    ),
    "camera": (
        100,
        (
            "8c949d3bfc6978f888f40ce6e5c3f70f7266621e8d989cb99fe1f3012041e0c7",
            "eb3dcc3a33c78e63dc3818c701ccbcd39e39c1747c98278f7170623e47c19ce0",
            "d9c13791a93cd256dda1a64cb0965da52733c8b4d8cd3613caf459ab75144a6d",
            "be6866d06692a4c9a96fb26d54991679db6c6bde39cd8d25a525d8941294764a",
            "9c9c62c5fc6987a788f4f319e5c308f87266dde18d9863469fe10cfe28411f38",
            "d9c1c86ea13c2da9dda159b3b096a25a2733374bd8cdc9eccab4a6547514b592",
            "eb3d33c533c7719cfc38e73801cc432c9e393e8b7c98d87071708dc147c1631f",
            "be68996f6692db36a96d4d925499e986cb6c942929cd72da2425376b1294c9b5",
        ),
    ),
    "moon": (
        77,
        (
            "131605cde366d985e1e371b264d8b25b964d93771d8c4f366d946ca47133d0cd",
            "3dc1c1e22f0eea1c90bcbd43e1d00385dead947ebc5678a543a1bf03ad52e63c",
            "4643af67b632733fb4b6db18318d18f1cb1839dd48d9e59c38c1c60e24627a67",
            "6c946b4a7a5bc0b645e917e9f485a92f0b783e947903d20f16f4a5aaf807ac96",
            "1317fa32e367267ae1e38e4d64d84da49e4d6c881d8cb0c96d94935b71372f32",
            "5ee75299b6378cf4b4b6a4e7318de70ecb98c66248d91a6338c139f16466859c",
            "39c13e1f2f0e95e3103c42bca1d0fc7a5e2d6bc12c56875a43a1f0fdad5259c3",
            "6c9494b57a5b3f4945e9e816f48556d00b78c16b79033df016f45a55f807d369",
        ),
    ),
}


def square(name: str) -> npt.NDArray[np.uint8]:
    picture = getattr(data, name)()
    grey = picture if picture.ndim == 2 else picture[..., 1]
    return np.asarray(cv2.resize(np.ascontiguousarray(grey), (320, 320), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("name", REFERENCE)
def test_hashes_and_quality_are_those_of_the_reference(name: str) -> None:
    quality, hashes = REFERENCE[name]
    points = pdq.sample(square(name))
    assert pdq.quality(points) == quality
    assert tuple(hash.hex() for hash in pdq.variants(points)) == hashes


def test_turning_the_picture_turns_the_variants() -> None:
    points = pdq.sample(square("astronaut"))
    turned = pdq.sample(np.ascontiguousarray(np.rot90(square("astronaut"))))
    assert pdq.variants(turned)[0] == pdq.variants(points)[1]


def test_a_flat_picture_has_no_quality() -> None:
    assert pdq.quality(pdq.sample(np.full((320, 320), 128, np.uint8))) == 0
