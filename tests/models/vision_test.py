"""Tests for simplex/models/vision.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import vision

IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
SMALL = {"num_classes": 5, "width": 8, "depth": 3}


def network(**fields):
  """Logits as a function of parameters, and these."""
  net = vision.Classifier(vision.Config(**{**SMALL, **fields}))
  params = {"params": net.init(jax.random.key(0), IMAGES)["params"]}
  return net, params


class VisionTest(chex.TestCase):
  @parameterized.product(kind=tuple(vision.MODELS), norm=(False, True))
  def test_the_head_reads_the_last_of_the_layers_that_are_shown(
    self, kind, norm
  ):
    net, params = network(kind=kind, norm_layers=norm)
    logits_NK, state = net.apply(params, IMAGES, mutable="intermediates")
    shown = state["intermediates"]["layers"]
    self.assertEqual(logits_NK.shape, (3, 5))
    self.assertGreaterEqual(len(shown), 2)
    for x_NE in shown:
      self.assertEqual(x_NE.ndim, 2)
    head_EK = params["params"]["head"]["kernel"]
    np.testing.assert_allclose(
      logits_NK, shown[-1] @ head_EK, rtol=1e-4, atol=1e-5
    )

  @parameterized.parameters("mlp", "conv")
  def test_a_network_without_norms_is_homogeneous_in_its_kernels(self, kind):
    net, params = network(kind=kind, depth=4)
    doubled = jax.tree.map(lambda kernel: 2 * kernel, params)
    np.testing.assert_allclose(
      net.apply(doubled, IMAGES), 2**4 * net.apply(params, IMAGES), rtol=1e-4
    )

  def test_with_norms_only_the_head_sets_the_size_of_the_logits(self):
    net, params = network(kind="mlp", norm_layers=True)
    doubled = jax.tree.map(lambda kernel: 2 * kernel, params)
    np.testing.assert_allclose(
      net.apply(doubled, IMAGES), 2 * net.apply(params, IMAGES), rtol=1e-3
    )

  def test_the_norm_before_the_head_fixes_what_the_head_sees(self):
    net, params = network(kind="mlp", norm_head=True)
    np.testing.assert_allclose(
      net.apply(params, 7 * IMAGES), net.apply(params, IMAGES), rtol=1e-3
    )

  def test_a_convolution_is_that_of_xla(self):
    net, params = network(kind="conv", depth=2)
    kernel = params["params"]["body"]["layer_0"]["kernel"].reshape(3, 3, 1, 8)
    names = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
      jnp.asarray(IMAGES), kernel, (1, 1), "SAME", dimension_numbers=names
    )
    _, state = net.apply(params, IMAGES, mutable="intermediates")
    (x_NE,) = state["intermediates"]["layers"]
    np.testing.assert_allclose(
      x_NE, jax.nn.relu(expected).mean((1, 2)), rtol=1e-4, atol=1e-5
    )

  @parameterized.parameters(
    (dict(kind="vgg"), "kind='vgg' is not one of .*'mlp', 'conv'"),
    (dict(kind="conv", depth=1), "depth=1 of 'conv' must be at least 2"),
    (dict(kind="vit", depth=0), "depth=0 of 'vit' must be at least 1"),
    (dict(num_classes=0), "num_classes=0 must be at least 1"),
    (dict(num_heads=3), "num_heads=3 must divide width=64"),
  )
  def test_sizes_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      vision.Config(**fields)

  def test_patches_that_do_not_fill_the_image_are_an_error(self):
    with self.assertRaisesRegex(ValueError, "patch=3 must divide .* 8 and 8"):
      network(kind="vit", patch=3)


if __name__ == "__main__":
  absltest.main()
