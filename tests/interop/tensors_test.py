"""Tests for simplex/interop/tensors.py."""

import re

from absl.testing import absltest, parameterized
import numpy as np

from simplex.interop import tensors

TABLE = {
  "wte": tensors.embedding("embed"),
  "h.*.ln": tensors.norm("layer_*/norm"),
  "h.*.up": tensors.linear("layer_*/up"),
  "h.*.qkv": tensors.conv1d("layer_*/q", "layer_*/k", "layer_*/v"),
}
LEAVES = {
  "norm/scale": (4,),
  "up/kernel": (4, 6),
  "up/bias": (6,),
  "q/kernel": (4, 2),
  "k/kernel": (4, 2),
  "v/kernel": (4, 2),
}


def made(stacked: bool):
  """Two layers' parameters, stacked or not, and their slots."""
  draw = np.random.default_rng(0).normal
  params = {"params/embed/embedding": draw(size=(5, 4))}
  for leaf, shape in LEAVES.items():
    if stacked:
      params[f"params/layers/layer_0/{leaf}"] = draw(size=(2, *shape))
    else:
      for i in range(2):
        params[f"params/layer_{i}/{leaf}"] = draw(size=shape)
  return params, tensors.slots(TABLE, params, 2)


def written(params, where):
  return {
    name: tensors.write(parts, params)
    for name, parts in tensors.sources(where).items()
  }


class TensorsTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_reading_is_the_inverse_of_writing(self, stacked):
    params, where = made(stacked)
    found = written(params, where)
    self.assertEqual(
      {name: x.shape for name, x in found.items()},
      tensors.shapes(where, params),
    )
    for path, x in params.items():
      np.testing.assert_array_equal(tensors.read(where[path], found), x)

  def test_matrices_are_turned_and_fused_as_the_table_says(self):
    params, where = made(False)
    found = written(params, where)
    layer = lambda leaf: params[f"params/layer_1/{leaf}"]
    np.testing.assert_array_equal(found["h.1.up.weight"], layer("up/kernel").T)
    np.testing.assert_array_equal(found["h.1.up.bias"], layer("up/bias"))
    np.testing.assert_array_equal(
      found["h.1.qkv.weight"],
      np.hstack([layer(f"{x}/kernel") for x in "qkv"]),
    )
    self.assertNotIn("h.1.qkv.bias", found)  # the model has none

  @parameterized.parameters(False, True)
  def test_a_part_is_read_alone(self, stacked):
    params, where = made(stacked)
    found = written(params, where)
    for path, x in params.items():
      index = tuple(slice(0, n // 2) for n in x.shape)
      np.testing.assert_array_equal(
        tensors.read(where[path], found, index), x[index]
      )

  def test_a_parameter_without_a_place_is_refused(self):
    with self.assertRaisesRegex(
      ValueError, r"no place for \['params/layer_0/gate', 'params/layer_2/up/k"
    ):
      tensors.slots(TABLE, ["params/layer_0/gate", "params/layer_2/up/k"], 2)

  def test_all_that_does_not_fit_is_listed(self):
    params, where = made(False)
    expected, found = tensors.shapes(where, params), written(params, where)
    found = {name: x.astype(np.float32) for name, x in found.items()}
    del found["h.0.ln.weight"]
    found["h.0.up.weight"] = found["h.0.up.weight"].T
    found["h.1.up.weight"] = found["h.1.up.weight"].astype(np.int8)
    found["h.2.up.bias"] = found["h.1.up.bias"]
    found["h.0.mask"] = np.ones(3, bool)
    with self.assertRaises(ValueError) as caught:
      tensors.check(expected, found, re.compile(".*mask").fullmatch)
    self.assertEqual(
      str(caught.exception),
      "the tensors do not fit: 'h.0.ln.weight' is missing; 'h.0.up.weight' has "
      "shape=(4, 6), not (6, 4); 'h.1.up.weight' has dtype=int8, not one of "
      "('bfloat16', 'float16', 'float32'); 'h.2.up.bias' is not expected",
    )

  def test_modules_that_are_fused_are_left_out(self):
    for stacked, expected in (
      (False, {f"params/layer_{i}/up/kernel": f"h.{i}.up" for i in (0, 1)}),
      (True, {"params/layers/layer_0/up/kernel": ["h.0.up", "h.1.up"]}),
    ):
      _, where = made(stacked)
      self.assertEqual(tensors.modules(where), expected)


if __name__ == "__main__":
  absltest.main()
