"""Tests for trainers/collectives.py, on lines as XLA writes them."""

from absl.testing import absltest

from trainers import collectives
from trainers.collectives import Collective, Result

PROGRAM = """
%a = bf16[1024,512]{1,0:T(8,128)(2,1)} all-gather(%p0), dimensions={0}
%b = (f32[8,64]{1,0}, f32[256,64]{1,0}) all-gather-start(%p1), dimensions={0}
%c = f32[256,64]{1,0} all-gather-done(%b)
%d = (f32[2]{0}, f32[16,4]{1,0}) all-reduce(%x, %y), to_apply=%add
%e = f32[4,64]{1,0:S(1)} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.3
%f = u8[10]{0} collective-permute-start(%x), source_target_pairs={{0,1}}
%g = f32[3]{0} fusion(%all-reduce.1), kind=kLoop, calls=%fused
"""


def of(kind, *shapes, axes=()):
  return Collective(kind, [Result(shape, "f32", 4) for shape in shapes], axes)


class CollectivesTest(absltest.TestCase):
  def test_each_is_read_once_with_all_its_results(self):
    found = collectives.read(PROGRAM)
    self.assertEqual(
      [(x.kind, *x.largest, x.axes) for x in found],
      [
        ("all-gather", (1024, 512), "bf16", 2**20, (0,)),
        ("all-gather", (256, 64), "f32", 2**16, (0,)),
        ("all-reduce", (16, 4), "f32", 256, ()),
        ("reduce-scatter", (4, 64), "f32", 1024, ()),
        ("collective-permute", (10,), "u8", 10, ()),
      ],
    )
    self.assertEqual([len(x.results) for x in found], [1, 2, 2, 1, 1])

  def test_all_rows_of_a_batch_on_a_device_are_found(self):
    rows = of("all-gather", (32, 16), axes=(0,))
    positions = of("all-gather", (16, 32 * 7), axes=(1,))
    elsewhere = of("all-gather", (4, 32), (64, 5), axes=(0,))
    total = of("all-reduce", (16, 32, 5))
    part = of("reduce-scatter", (32, 5))
    self.assertEqual(
      collectives.whole_batches(
        [rows, positions, elsewhere, total, part], [(32, 7)], []
      ),
      [rows, positions, total],
    )

  def test_rows_beside_other_arrays_in_one_operation_are_found(self):
    found = [of("all-reduce", (5000, 9), (32, 3))]
    rows = of("all-reduce", (32, 3))
    self.assertEqual(collectives.whole_batches(found, [(32,)], []), [rows])

  def test_a_parameter_as_long_as_the_batch_may_be_gathered(self):
    found = [of("all-gather", (1, 64, 32), axes=(2,))]
    whole = lambda *exempt: collectives.whole_batches(found, [(32,)], exempt)
    self.assertEqual(whole((32, 64)), [])
    self.assertEqual(whole((32, 63)), found)


if __name__ == "__main__":
  absltest.main()
