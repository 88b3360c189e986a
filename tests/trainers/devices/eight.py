"""One run on many meshes: the same losses, and nothing sent in vain.

To be run as a program, which sees eight devices; `eight_test` does so.
"""

import itertools
import re

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
import numpy as np
import optax

from simplex.data.random_computation import bank
from simplex.losses import tokens
from simplex.models import mixers, transformer
from trainers import loop, sharding
from trainers.problem import Problem

B, T, STEPS = 24, 12, 20
BANK = bank.Config(
  mixture="lstm",
  num_machines=2,
  rows_per_machine=1,
  bank_rows=16,
  constant_resets=1,
  random_resets=1,
  seed_length=4,
  num_groups=8,
  hidden=4,
  layers=1,
)
# Devices along data and model; the first mesh is what others are compared to.
ALONE, BOTH, OTHERS = (1, 1), (2, 4), ((2, 1), (4, 1), (8, 1), (4, 2))


def make_problem(names):
  """Next-byte prediction by a model of each mixer, which share the batches."""
  models = {
    name: transformer.Transformer(
      transformer.Config(
        width=16, num_layers=1, feed_forward_width=16, mixer=name
      )
    )
    for name in names
  }

  def init(key):
    some = jnp.zeros((1, 1), jnp.int32)
    return {name: model.init(key, some) for name, model in models.items()}

  def loss(params, batch, *, key, step):
    del key, step
    losses = {
      name: tokens.next_token(
        model.apply(params[name], batch["tokens"]), batch["targets"]
      )[0]
      for name, model in models.items()
    }
    return sum(losses.values()), losses

  return Problem(init, loss, bank.source(BANK, B, T))


class Ran:
  """Training on each of some meshes: losses, programs and old states."""

  def __init__(self, names, meshes, tx):
    problem = make_problem(names)
    start, self.losses, self.programs, self.given = None, {}, {}, {}
    for data, model in meshes:
      mesh = jax.make_mesh(
        (data, model),
        sharding.AXES,
        (AxisType.Auto,) * 2,
        devices=jax.devices()[: data * model],
      )
      with jax.set_mesh(mesh):
        run = loop.compile_run(problem, tx, loop.Config(), mesh)
        start = start or jax.device_get(run.init(jax.random.key(0)))
        state = jax.device_put(start, sharding.of_state(start, mesh))
        step = run.step.lower(state).compile()
        rows = []
        for _ in range(STEPS):
          self.given[data, model] = state
          state, metrics = step(state)
          rows.append(jax.device_get(metrics))
      self.programs[data, model] = step.as_text()
      self.losses[data, model] = {
        name: np.array([row[name] for row in rows]) for name in names
      }


def collectives(program: str) -> dict[str, set[str]]:
  """The kinds of collectives in a program, and the shapes they give."""
  kinds = "all-gather|all-to-all|all-reduce|collective-permute|reduce-scatter"
  found = {kind: set() for kind in kinds.split("|")}
  for shapes, kind in re.findall(
    rf"= ([^=]*?) ({kinds})(?:-start)?\(", program
  ):
    found[kind].update(re.findall(r"\w+\[[\d,]*\]", shapes))
  return found


class EightTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    sharding.MIN_SHARDED_SIZE = 2**8  # these models are small
    cls.all = Ran(list(mixers.MIXERS), (ALONE, BOTH), optax.sgd(0.1))
    cls.one = Ran(["softmax"], (ALONE, *OTHERS), optax.adam(1e-3))

  def test_every_mesh_gives_the_losses_of_one_device(self):
    for ran in (self.all, self.one):
      alone = ran.losses.pop(ALONE)
      for mesh, name in itertools.product(ran.losses, alone):
        with self.subTest(mesh=mesh, mixer=name):
          losses = ran.losses[mesh][name]
          np.testing.assert_allclose(losses, alone[name], rtol=1e-5)
          self.assertLess(losses[-1], losses[0] - 0.01)

  def test_weights_are_gathered_and_neither_batches_nor_banks_are(self):
    programs = self.one.programs | {BOTH: self.all.programs[BOTH]}
    del programs[ALONE]
    for mesh, program in programs.items():
      found = collectives(program)
      self.assertIn(f"f32[16,{256 // mesh[1]}]", found["all-gather"])  # head
      for kind in ("all-gather", "all-to-all", "collective-permute"):
        for shape in found[kind]:
          with self.subTest(mesh=mesh, kind=kind, shape=shape):
            dtype, sizes = re.fullmatch(r"(\w+)\[([\d,]*)\]", shape).groups()
            self.assertNotIn(dtype, ("u8", "u32"))  # of banks, of keys
            self.assertNotIn(str(B), sizes.split(","))

  def test_a_state_is_given_up_by_its_step(self):
    for state in self.all.given.values():
      for x in jax.tree.leaves((state.params, state.opt_state, state.source)):
        self.assertTrue(x.is_deleted())


if __name__ == "__main__":
  absltest.main()
