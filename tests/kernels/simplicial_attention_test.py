"""Tests for simplex/kernels/simplicial_attention."""

import functools
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels.simplicial_attention import forms, xla
from tests.kernels import conformance

CASES = (
  dict(testcase_name="all"),
  dict(testcase_name="full", causal=False),
  dict(testcase_name="self_only", windows=(1, 1)),
  dict(testcase_name="windows", windows=(3, 7)),
  dict(testcase_name="long_window_first", windows=(9, 2)),
  dict(testcase_name="one_window", windows=(None, 4)),
  dict(testcase_name="full_windows", windows=(4, 7), causal=False),
  dict(testcase_name="scaled", scale=0.7, windows=(5, 5)),
  dict(testcase_name="more_keys", S=22, windows=(3, None)),
  dict(testcase_name="more_keys_full", S=22, causal=False, windows=(8, 3)),
  dict(testcase_name="one_query", T=1, S=11, windows=(4, 9)),
  dict(testcase_name="one_key_head", G=1, windows=(3, 6)),
  dict(testcase_name="as_many_key_heads", G=4, windows=(3, 6)),
  dict(testcase_name="segments", segments=True),
  dict(testcase_name="segments_full", segments=True, causal=False, S=22),
  dict(testcase_name="segments_in_windows", segments=True, windows=(6, 3)),
)


def random_inputs(B=2, T=13, S=13, H=4, G=2, D=7, dtype="float32"):
  keys = jax.random.split(jax.random.key(0), 5)
  shapes = ((B, T, H, D), *[(B, S, G, D)] * 4)
  pairs = zip(keys, shapes, strict=True)
  return [jax.random.normal(*pair).astype(dtype) for pair in pairs]


def packed_segments(B, S):
  return (jnp.arange(S) + 3 * jnp.arange(B)[:, None]) // 6


def op(implementation, **settings):
  return functools.partial(
    kernels.simplicial_attention_with_lse,
    implementation=implementation,
    **settings,
  )


class SimplicialAttentionTest(chex.TestCase):
  @parameterized.product(
    [dict(case=case) for case in CASES], form=("trilinear", "determinant")
  )
  def test_xla_matches_reference(self, case, form):
    settings = {k: v for k, v in case.items() if k != "testcase_name"}
    sizes = {k: settings.pop(k) for k in ("T", "S", "G") if k in settings}
    inputs = random_inputs(**sizes)
    if settings.pop("segments", False):
      settings["segments_BS"] = packed_segments(2, inputs[1].shape[1])
    settings["form"] = form
    # Small tiles, so that few positions make several of them each way.
    with mock.patch.multiple(xla, TILE={"cpu": 800}, LONGEST=dict(j=3, c=4)):
      conformance.assert_matches(
        op("xla", **settings), op("reference", **settings), *inputs
      )


if __name__ == "__main__":
  absltest.main()
