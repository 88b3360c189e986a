"""The choice of tasks gives the published numbers."""

from absl.testing import absltest, parameterized

from simplex.data import grids
from trainers import arc


class CountsTest(parameterized.TestCase):
  @parameterized.parameters(
    ("arcagi1", "training", 262, 172),
    ("arcagi1", "evaluation", 270, 193),
    ("arcagi2", "training", 680, 455),
    ("arcagi2", "evaluation", 81, 46),
  )
  def test_as_many_keep_their_sizes_and_colours(self, source, part, same, both):
    found = arc.load(source, part).tasks
    tasks = [grids.parse(name, data) for name, data in found.items()]
    self.assertLen(list(filter(grids.has_same_sizes, tasks)), same)
    self.assertLen(list(filter(grids.is_feasible, tasks)), both)


if __name__ == "__main__":
  absltest.main()
