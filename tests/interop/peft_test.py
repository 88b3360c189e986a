"""Tests for simplex/interop/peft.py."""

import importlib.util
import json
import pathlib

from absl.testing import absltest, parameterized
import jax
import numpy as np

from simplex.adapters import adapter, lora, paths, targets
from simplex.interop import peft
from tests.adapters import toy

MODULES = {
  "params/query/kernel": "query",
  "params/up/kernel": "block.up",
  "params/down/kernel": "block.down",
  "params/layers/up/kernel": ("layers.0.up", "layers.1.up"),
}


def listed(names):
  return [names] if isinstance(names, str) else names


LEAVES = [module for names in MODULES.values() for module in listed(names)]


def changes(name, base=None):
  base = toy.params() if base is None else base
  tree = toy.trained(name, base)
  return toy.ADAPTERS[name].factors(base, tree, toy.NUM_STEPS)


def kernels(base):
  """The matrix of every module."""
  flat = paths.flatten(base)
  return {
    module: flat[path] if isinstance(MODULES[path], str) else flat[path][i]
    for path in MODULES
    for i, module in enumerate(listed(MODULES[path]))
  }


class PeftTest(parameterized.TestCase):
  @parameterized.parameters("lora", "singlora", "chain", "dora")
  def test_a_round_trip_gives_back_every_bit(self, name):
    factors = changes(name)
    tensors, config = peft.to_peft(factors, MODULES)
    again = peft.from_peft(tensors, json.loads(json.dumps(config)), MODULES)
    self.assertCountEqual(again, factors)
    for path, f in factors.items():
      for x, y in zip(f, again[path], strict=True):
        np.testing.assert_array_equal(x, y)

  @parameterized.parameters("lora", "singlora", "chain")
  def test_the_formula_of_peft_gives_our_kernels(self, name):
    """PEFT adds alpha / r B A to the weight, [out, in]."""
    base = toy.params()
    tensors, config = peft.to_peft(changes(name, base), MODULES)
    merged = toy.ADAPTERS[name].merge(
      base, toy.trained(name, base), toy.NUM_STEPS
    )
    before, after = kernels(base), kernels(merged)
    for module in LEAVES:
      a = tensors[f"base_model.model.{module}.lora_A.weight"]
      b = tensors[f"base_model.model.{module}.lora_B.weight"]
      rank = config["rank_pattern"].get(module, config["r"])
      alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
      self.assertEqual(a.shape[0], rank)
      np.testing.assert_allclose(
        before[module].T + alpha / rank * b @ a, after[module].T, atol=1e-6
      )

  def test_magnitudes_have_the_name_of_peft(self):
    tensors, config = peft.to_peft(changes("dora"), MODULES)
    name = "base_model.model.block.up.lora_magnitude_vector"
    self.assertEqual(tensors[name].shape, (9,))
    self.assertTrue(config["use_dora"])

  def test_the_settings_name_the_modules_and_other_ranks(self):
    _, config = peft.to_peft(changes("singlora"), MODULES)
    self.assertEqual(config["target_modules"], sorted(LEAVES))
    self.assertEqual((config["r"], config["lora_alpha"]), (3, 3))
    self.assertEqual(config["rank_pattern"], {"block.down": 2})
    self.assertEqual(config["alpha_pattern"], {"block.down": 2})

  @parameterized.parameters((False, 4.0), (True, 8.0))
  def test_the_scale_of_a_file_is_in_the_right_factor(self, rslora, scale):
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 1}
    config |= {"rank_pattern": {"up": 4}, "alpha_pattern": {"block.up": 16}}
    tensors = {
      "base_model.model.block.up.lora_A.weight": np.ones((4, 6)),
      "base_model.model.block.up.lora_B.weight": np.ones((9, 4)),
    }
    found = peft.from_peft(tensors, config | {"use_rslora": rslora}, MODULES)
    ((path, f),) = found.items()
    self.assertEqual(path, "params/up/kernel")
    self.assertEqual(f.left.shape, (6, 4))
    np.testing.assert_array_equal(f.right, scale)

  def test_what_was_read_trains_on_as_lora(self):
    base = toy.params()
    tensors, config = peft.to_peft(changes("singlora", base), MODULES)
    read = peft.from_peft(tensors, config, MODULES)
    tree = {path: lora.LowRank(*f[:2]) for path, f in read.items()}
    alphas = tuple((path, float(f.left.shape[-1])) for path, f in read.items())
    one = lora.lora(targets.Config(alphas=alphas, ranks=alphas))
    merged = paths.flatten(one.merge(base, tree, 0))
    for path, f in changes("singlora", base).items():
      kernel = paths.flatten(base)[path]
      np.testing.assert_allclose(
        merged[path], adapter.change(kernel, f), atol=1e-6
      )

  def test_a_path_becomes_a_module(self):
    self.assertEqual(peft.dotted("params/layer_0/up/kernel"), "layer_0.up")
    self.assertEqual(peft.dotted("up"), "up")


class RefusedTest(parameterized.TestCase):
  def test_all_tensors_that_do_not_fit_are_listed(self):
    tensors, config = peft.to_peft(changes("singlora"), MODULES)
    name = "base_model.model.{}.lora_{}.weight".format
    del tensors[name("query", "A")]
    del tensors[name("layers.1.up", "B")]
    tensors[name("block.up", "B")] = np.ones((9, 5))
    tensors[name("block.down", "A")] = np.ones(4)
    tensors[name("head", "A")] = np.ones((3, 4))
    tensors["base_model.model.query.bias"] = np.ones(6)
    tensors["base_model.model.query.lora_magnitude_vector"] = np.ones(6)
    with self.assertRaises(ValueError) as caught:
      peft.from_peft(tensors, config, MODULES)
    for sentence in (
      "'base_model.model.query.lora_A.weight' is missing",
      "'base_model.model.layers.1.up.lora_B.weight' is missing",
      "block.up.lora_B.weight' has shape=(9, 5), not (None, 3)",
      "block.down.lora_A.weight' has shape=(4,), not (2, None)",
      "'base_model.model.head.lora_A.weight' is of no known module",
      "'base_model.model.query.bias' is of no known module",
      "query.lora_magnitude_vector' is not expected, with use_dora=False",
    ):
      self.assertIn(sentence, str(caught.exception))
    self.assertEqual(str(caught.exception).count(";"), 6)

  def test_a_file_without_tensors_is_refused(self):
    with self.assertRaisesRegex(ValueError, "no change to read"):
      peft.from_peft({}, {"peft_type": "LORA", "r": 1}, MODULES)

  def test_another_method_is_refused(self):
    with self.assertRaisesRegex(ValueError, "peft_type='LOHA' is not 'LORA'"):
      peft.from_peft({}, {"peft_type": "LOHA"}, MODULES)

  def test_changes_that_peft_cannot_say_are_refused(self):
    factors, some = changes("dora"), changes("lora")
    path, stack = "params/up/kernel", "params/layers/up/kernel"
    for given, modules, message in (
      ({}, MODULES, "no change to write"),
      ({path: some[path]}, {stack: "up"}, f"'{path}' has no module among"),
      (factors | {path: some[path]}, MODULES, r"\['block.up'\] without"),
      ({stack: some[stack]}, {stack: ("a",)}, r"each of modules=\('a',\)"),
      ({stack: some[stack]}, {stack: "a"}, "each of modules='a'"),
      ({path: some[path]}, {path: ("a",)}, "not a matrix for each"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        peft.to_peft(given, modules)


class RealPeftTest(parameterized.TestCase):
  """Against the package itself, through its files."""

  def setUp(self):
    super().setUp()
    for name in ("torch", "peft", "safetensors"):
      if importlib.util.find_spec(name) is None:
        self.skipTest(f"{name} is not installed")

  def model(self, base):
    import torch

    tree = torch.nn.Module()
    for module, kernel in kernels(base).items():
      parent = tree
      *parents, last = module.split(".")
      for name in parents:
        if not hasattr(parent, name):
          parent.add_module(name, torch.nn.Module())
        parent = getattr(parent, name)
      linear = torch.nn.Linear(*kernel.shape, bias=False)
      linear.weight.data = torch.tensor(np.asarray(kernel).T.copy())
      parent.add_module(last, linear)
    return tree

  @parameterized.parameters("lora", "singlora", "chain", "dora")
  def test_peft_computes_what_we_do_and_saves_what_we_wrote(self, name):
    import peft as real
    import safetensors.numpy
    import torch

    base = toy.params()
    tensors, config = peft.to_peft(changes(name, base), MODULES)
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(
      {name: np.ascontiguousarray(x) for name, x in tensors.items()},
      folder / "adapter_model.safetensors",
    )
    model = real.PeftModel.from_pretrained(self.model(base), str(folder))
    again = pathlib.Path(self.create_tempdir().full_path)
    model.save_pretrained(str(again))
    merged = toy.ADAPTERS[name].merge(
      base, toy.trained(name, base), toy.NUM_STEPS
    )
    for module, kernel in kernels(merged).items():
      x = np.asarray(jax.random.normal(jax.random.key(3), (4, len(kernel))))
      layer = model.base_model.model.get_submodule(module)
      with torch.no_grad():
        y = layer(torch.tensor(x)).numpy()
      np.testing.assert_allclose(y, x @ kernel, atol=1e-5)
    saved = safetensors.numpy.load_file(again / "adapter_model.safetensors")
    settings = json.loads((again / "adapter_config.json").read_text())
    read = peft.from_peft(saved, settings, MODULES)
    for path, f in changes(name, base).items():
      for x, y in zip(f, read[path], strict=True):
        np.testing.assert_array_equal(x, y)


if __name__ == "__main__":
  absltest.main()
