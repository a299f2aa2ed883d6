"""The same data have the same digest, and whatever differs has another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from histolab_lite.digests import describe_model, digest, qualified_name

arrays = hnp.arrays(st.sampled_from([np.uint8, np.float32, np.int64, bool]), hnp.array_shapes(min_side=0, max_side=4))


@settings(max_examples=50)
@given(arrays, st.data())
def test_every_bit_counts_but_not_the_order_in_memory(array, data):
    assert digest(array) == digest(array.copy(order="F")) == digest(np.asarray(memoryview(array)))
    assert digest(torch.from_numpy(array)) == digest(torch.from_numpy(array.copy()))
    assert len(digest(array)) == 12
    if array.size:
        other = array.copy()
        place = data.draw(st.integers(0, array.size - 1))
        other.reshape(-1).view(np.uint8)[place * array.itemsize] ^= 1
        assert digest(array) != digest(other)


def test_values_shapes_types_and_order_count():
    x = torch.arange(6, dtype=torch.float32)
    different = [
        *(x, x.double(), x.bfloat16(), x.reshape(2, 3), x.flip(0), [x], [x, x], [[x], x], [x[:3], x[3:]]),
        *(x.numpy(), {"a": x}, {"b": x}, {"a": x, "b": x}, {1: x}, {True: x}, [x, None], [x, ""], [x, 0], [x, 0.0]),
        *([], [[]], None, "", "a", ["a"], [np.int64(1)], [1], [True], np.zeros((0, 4)), np.zeros((4, 0))),
    ]
    assert len({digest(value) for value in different}) == len(different)
    assert digest((x, [1])) == digest([x, (1,)])


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([None]), iter([1])])
def test_other_data_are_refused(value):
    with pytest.raises(TypeError, match="a digest needs arrays"):
        digest([value])


def test_a_model_is_described_by_its_tensors_but_not_their_values():
    one, other = nn.Linear(4, 2), nn.Linear(4, 2)
    assert describe_model(one) == describe_model(other)
    assert describe_model(one).startswith("Linear of 10 weights, ")
    for changed in (nn.Linear(4, 3), nn.Linear(9, 1), nn.Linear(4, 2).half(), nn.Linear(5, 2, bias=False)):
        assert describe_model(changed) != describe_model(one)


def test_functions_and_callable_objects_have_names():
    def inner():
        pass

    assert qualified_name(inner) == f"{__name__}.test_functions_and_callable_objects_have_names.<locals>.inner"
    assert qualified_name(nn.MSELoss()) == "torch.nn.modules.loss.MSELoss"
