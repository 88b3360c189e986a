"""Tests for simplex/kernels/backend.py, with small ops made for them."""

import sys
import types
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.kernels import backend
from tests.kernels import conformance

PACKAGE = "made_for_tests.square"


def square(unsupported=None, partitionable=False):
  """`scale * x**2` with a gradient of 10 times the true one, to know it by."""
  return backend.Backend(
    forward=lambda x_BD, mask_B, *, scale: (scale * x_BD**2, (x_BD, mask_B)),
    backward=lambda residuals, d_BD, *, scale: (
      20 * scale * residuals[0] * d_BD,
      None,
    ),
    unsupported=lambda *arrays, **static: unsupported,
    partitionable=partitionable,
  )


class BackendTest(chex.TestCase):
  def install(self, **backends):
    """Makes a package whose modules hold these backends."""
    modules = {PACKAGE: types.ModuleType(PACKAGE)}
    for name, made in backends.items():
      module = modules[f"{PACKAGE}.{name}"] = types.ModuleType(name)
      module.BACKEND = made
    found = lambda name: name in modules or None
    patches = (
      mock.patch.dict(sys.modules, modules),
      mock.patch.object(backend.importlib.util, "find_spec", found),
    )
    backend.available.cache_clear()
    self.addCleanup(backend.available.cache_clear)
    for patch in patches:
      patch.start()
      self.addCleanup(patch.stop)

  def call(self, x_BD, implementation=None, mask_B=None):
    return backend.call(PACKAGE, implementation, x_BD, mask_B, scale=3.0)

  def test_unknown_name_is_a_value_error_with_the_allowed_ones(self):
    self.install(xla=square(), reference=square())
    message = r"implementation='cuda' is not None or one of \['reference', 'xl"
    with self.assertRaisesRegex(ValueError, message):
      self.call(jnp.ones((2, 3)), "cuda")

  def test_name_without_a_module_is_a_value_error(self):
    self.install(xla=square())
    message = r"implementation='tpu_pallas' is not None or one of \['xla'\]"
    with self.assertRaisesRegex(ValueError, message):
      self.call(jnp.ones((2, 3)), "tpu_pallas")

  def test_every_reason_is_listed(self):
    self.install(gpu_triton=square("no triton"), xla=square("no time"))
    with mock.patch.object(backend, "platform", return_value="gpu"):
      message = "square cannot run here: gpu_triton: no triton; xla: no time"
      with self.assertRaisesRegex(NotImplementedError, message):
        self.call(jnp.ones((2, 3)))

  def test_op_without_a_candidate_says_so(self):
    self.install(tpu_pallas=square())
    with self.assertRaisesRegex(NotImplementedError, "nothing for 'cpu'"):
      self.call(jnp.ones((2, 3)))

  def test_first_supported_of_the_platform_is_taken(self):
    other = backend.Backend(
      lambda x_BD, mask_B, *, scale: (0 * x_BD, None),
      None,
      lambda *a, **k: None,
    )
    self.install(gpu_triton=square("no triton"), xla=other)
    x_BD = jnp.ones((2, 3))
    with mock.patch.object(backend, "platform", return_value="gpu"):
      chex.assert_trees_all_equal(self.call(x_BD), 0 * x_BD)

  def test_platform_follows_the_default_device(self):
    self.assertEqual(backend.platform(), jax.default_backend())
    for device in ("cpu", jax.devices("cpu")[0]):
      with jax.default_device(device):
        self.assertEqual(backend.platform(), "cpu")

  def test_platform_is_that_of_the_mesh_around(self):
    tpu = jax.sharding.AbstractDevice("TPU v5", 1, "tpu")
    mesh = jax.sharding.AbstractMesh((8,), ("data",), abstract_device=tpu)
    with jax.sharding.use_abstract_mesh(mesh):
      self.assertEqual(backend.platform(), "tpu")
      with jax.default_device("cpu"):
        self.assertEqual(backend.platform(), "cpu")

  @parameterized.parameters(True, False)
  def test_hand_written_gradient_is_used(self, partitionable):
    self.install(xla=square(partitionable=partitionable))
    x_BD = jnp.arange(6.0).reshape(2, 3)
    grad_BD = jax.grad(lambda x_BD: self.call(x_BD).sum())(x_BD)
    chex.assert_trees_all_close(grad_BD, 60 * x_BD)

  @parameterized.parameters(0, 1)
  def test_vmap_is_one_call_on_a_larger_batch(self, axis):
    self.install(xla=square())
    x_NBD = jnp.arange(24.0).reshape(4, 2, 3)
    fn = lambda x_BD, mask_B: self.call(x_BD, mask_B=mask_B)
    with_grad = lambda x_BD, mask_B: jax.vjp(fn, x_BD, mask_B)[1](x_BD)[0]
    mask_B = jnp.ones(2, bool)
    moved = jnp.moveaxis(x_NBD, 0, axis)
    out = jax.vmap(fn, in_axes=(axis, None))(moved, mask_B)
    grad = jax.vmap(with_grad, in_axes=(axis, None))(moved, mask_B)
    chex.assert_trees_all_close((out, grad), (3 * x_NBD**2, 60 * x_NBD**2))

  @parameterized.parameters(
    dict(sizes=(4,), names=("data",), batch=8, expected=2),
    dict(sizes=(2, 2), names=("data", "model"), batch=8, expected=4),
    dict(sizes=(4,), names=("data",), batch=6, expected=6),
    dict(sizes=(4,), names=("model",), batch=8, expected=8),
  )
  def test_each_device_gets_its_shard(self, sizes, names, batch, expected):
    seen = []

    def forward(x_BD, mask_B, *, scale):
      seen.append(x_BD.shape[0])
      return scale * x_BD**2, (x_BD, mask_B)

    self.install(xla=square()._replace(forward=forward))
    x_BD = jnp.arange(2.0 * batch).reshape(batch, 2)
    fn = lambda x_BD: self.call(x_BD).sum()
    with jax.set_mesh(conformance.make_mesh(sizes, names)):
      grad_BD = jax.jit(jax.grad(fn))(x_BD)
      stacked = jax.jit(jax.vmap(self.call))(jnp.stack([x_BD] * 3))
    self.assertIn(expected, seen)
    chex.assert_trees_all_close(grad_BD, 60 * x_BD)
    chex.assert_trees_all_close(stacked[2], 3 * x_BD**2)

  def test_sharded_batch_is_not_gathered(self):
    self.install(xla=square())
    conformance.assert_keeps_shards(self.call, jnp.ones((8, 3)))
    mesh = conformance.make_mesh((2, 2), ("data", "model"))
    conformance.assert_keeps_shards(self.call, jnp.ones((8, 3)), mesh=mesh)

  @parameterized.parameters(
    dict(H=4, G=4, expected=(4, 3, 2, 5)),
    dict(H=4, G=1, expected=(4, 3, 2, 5)),
    dict(H=3, G=3, expected=(4, 3, 3, 5)),  # do not divide
    dict(H=6, G=3, expected=(4, 3, 6, 5)),  # two parts would share a key head
  )
  def test_each_device_gets_its_heads(self, H, G, expected):
    """Of q + k, summed over channels too, with a mask of the batch."""
    seen = []

    def forward(q_BTHD, k_BTGD, mask_BT, *, scale):
      seen.append(q_BTHD.shape)
      k_BTHD = jnp.repeat(k_BTGD, q_BTHD.shape[2] // k_BTGD.shape[2], axis=2)
      out_BTHD = scale * mask_BT[..., None, None] * q_BTHD * k_BTHD
      return (out_BTHD, out_BTHD.sum((1, 3))), (q_BTHD, k_BTGD, mask_BT)

    def backward(residuals, d_out, *, scale):
      fn = lambda q, k: forward(q, k, residuals[2], scale=scale)[0]
      return *jax.vjp(fn, *residuals[:2])[1](d_out), None

    self.install(
      xla=backend.Backend(forward, backward, lambda *arrays, **static: None)
    )
    keys = jax.random.split(jax.random.key(0), 2)
    q_BTHD = jax.random.normal(keys[0], (8, 3, H, 5))
    k_BTGD = jax.random.normal(keys[1], (8, 3, G, 5))
    mask_BT = jnp.tile(jnp.arange(3.0), (8, 1))

    def run(q_BTHD, k_BTGD):
      fn = lambda *xs: backend.call(PACKAGE, None, *xs, mask_BT, scale=3.0)
      out, vjp = jax.vjp(fn, q_BTHD, k_BTGD)
      return out, vjp(jax.tree.map(jnp.cos, out))

    plain = jax.jit(run)(q_BTHD, k_BTGD)
    seen.clear()
    with jax.set_mesh(conformance.make_mesh((2, 2), ("data", "model"))):
      split = jax.jit(run)(q_BTHD, k_BTGD)
      stacked = jax.jit(jax.vmap(run))(
        *(jnp.stack([x] * 3) for x in (q_BTHD, k_BTGD))
      )
    self.assertEqual(seen[0], expected)
    chex.assert_trees_all_close(split, plain, rtol=1e-5)
    last = jax.tree.map(lambda x: x[2], stacked)
    chex.assert_trees_all_close(last, plain, rtol=1e-5)

  def test_op_runs_inside_a_shard_map(self):
    self.install(xla=square())
    x_BD = jnp.arange(16.0).reshape(8, 2)
    with jax.set_mesh(conformance.make_mesh((4,), ("data",))):
      spec = jax.P("data")
      fn = jax.shard_map(self.call, in_specs=spec, out_specs=spec)
      chex.assert_trees_all_close(jax.jit(fn)(x_BD), 3 * x_BD**2)


if __name__ == "__main__":
  absltest.main()
