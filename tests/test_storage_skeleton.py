"""Metadata that any Zarr reader opens, and a run sets right again."""

import json

import numpy as np
import pytest
import zarr

from storage import BankWriter, array_layouts
from storage.skeleton import array_metadata, same_metadata, weight_files
from tests.small_banks import frozen_weights, small_spec, write_bank


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_zarr_opens_every_array(tmp_path, dtype):
    spec = write_bank(tmp_path / "bank", 3, small_spec(dtype=dtype, attention="derived"))
    group = zarr.open_group(tmp_path / "bank", mode="r")
    for layout in array_layouts(spec):
        assert group[layout.name].shape == (3, *layout.row_shape)
        assert group[layout.name].dtype == layout.dtype
    for name, values in frozen_weights(spec).items():
        np.testing.assert_array_equal(np.asarray(group[name]), values)


def test_damaged_metadata_are_healed_by_the_next_run(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 3)
    files = [path / "features/pooled/zarr.json", path / "features/block02/out/zarr.json"]
    before = [json.loads(file.read_text()) for file in files]
    files[0].unlink()
    files[1].write_text(files[1].read_text().replace("1", "2", 1))
    with BankWriter(path, small_spec()):
        pass
    assert [json.loads(file.read_text()) for file in files] == before


def test_metadata_are_compared_by_what_they_say():
    data = array_metadata(small_spec(), 3, 2)["features/pooled/zarr.json"]
    assert same_metadata(json.dumps(json.loads(data)).encode(), data)
    assert not same_metadata(array_metadata(small_spec(), 4, 2)["features/pooled/zarr.json"], data)
    assert not same_metadata(b"{", data)


def test_weights_of_another_shape_are_refused():
    spec = small_spec(attention="derived")
    weights = frozen_weights(spec)
    name = min(weights)
    with pytest.raises(ValueError, match=r"expected .* of shape"):
        weight_files(spec, weights | {name: np.zeros(3, np.float32)})
