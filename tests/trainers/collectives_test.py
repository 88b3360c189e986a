"""Tests for trainers/collectives.py, on lines as XLA writes them."""

from absl.testing import absltest

from trainers import collectives
from trainers.collectives import Collective

PROGRAM = """
%a = bf16[1024,512]{1,0:T(8,128)(2,1)} all-gather(%p0), dimensions={0}
%b = (f32[8,64]{1,0}, f32[256,64]{1,0}) all-gather-start(%p1), dimensions={0}
%c = f32[256,64]{1,0} all-gather-done(%b)
%d = (f32[2]{0}, f32[16,4]{1,0}) all-reduce(%x, %y), to_apply=%add
%e = f32[4,64]{1,0:S(1)} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.3
%f = u8[10]{0} collective-permute-start(%x), source_target_pairs={{0,1}}
%g = f32[3]{0} fusion(%all-reduce.1), kind=kLoop, calls=%fused
"""


class CollectivesTest(absltest.TestCase):
  def test_each_is_read_once_with_its_largest_result(self):
    self.assertEqual(
      collectives.read(PROGRAM),
      [
        Collective("all-gather", (1024, 512), "bf16", 2**20, axes=(0,)),
        Collective("all-gather", (256, 64), "f32", 2**16, axes=(0,)),
        Collective("all-reduce", (16, 4), "f32", 256),
        Collective("reduce-scatter", (4, 64), "f32", 1024),
        Collective("collective-permute", (10,), "u8", 10),
      ],
    )

  def test_all_rows_of_a_batch_on_a_device_are_found(self):
    gather = lambda *shape, axis: Collective(
      "all-gather", shape, "f32", 4, (axis,)
    )
    rows, positions = gather(32, 16, axis=0), gather(16, 32 * 7, axis=1)
    elsewhere, longer = gather(4, 32, axis=0), gather(64, 5, axis=0)
    total = Collective("all-reduce", (16, 32, 5), "f32", 4)
    part = Collective("reduce-scatter", (32, 5), "f32", 4)
    found = [rows, positions, elsewhere, longer, total, part]
    self.assertEqual(
      collectives.whole_batches(found, [(32, 7)], []), [rows, positions, total]
    )

  def test_a_parameter_as_long_as_the_batch_may_be_gathered(self):
    found = [Collective("all-gather", (1, 64, 32), "f32", 4, (2,))]
    whole = lambda *exempt: collectives.whole_batches(found, [(32,)], exempt)
    self.assertEqual(whole((32, 64)), [])
    self.assertEqual(whole((32, 63)), found)


if __name__ == "__main__":
  absltest.main()
