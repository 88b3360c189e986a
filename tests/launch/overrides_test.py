"""Tests for launch/overrides.py."""

import dataclasses
import json
from typing import Literal

from absl.testing import absltest, parameterized

from launch import overrides


@dataclasses.dataclass(frozen=True)
class Inner:
  width: int = 8
  rate: float = 0.5
  name: Literal["adam", "sgd"] = "adam"

  def __post_init__(self):
    if self.width < 1:
      raise ValueError(f"width={self.width} must be at least 1")
    if self.width > 100 and self.rate > 0.1:
      raise ValueError(f"width={self.width} needs a rate of 0.1 or less")


@dataclasses.dataclass(frozen=True)
class Outer:
  model: Inner = Inner()
  teacher: Inner = Inner()
  sizes: tuple[int, ...] = (1, 2)
  paths: tuple[str, ...] = ()
  limit: int | None = None
  title: str = "a"
  fast: bool = False


class OverridesTest(parameterized.TestCase):
  @parameterized.parameters(
    ("model.width=3", "model.width", 3),
    ("model.width=1e2", "model.width", 100),
    ("model.rate=2", "model.rate", 2.0),
    ("model.name=sgd", "model.name", "sgd"),
    ("sizes=4,5", "sizes", (4, 5)),
    ("sizes=(4,)", "sizes", (4,)),
    ("sizes=", "sizes", ()),
    ("paths=a b.txt,c", "paths", ("a b.txt", "c")),
    ("limit=7", "limit", 7),
    ("limit=none", "limit", None),
    ("title=x=y", "title", "x=y"),
    ("fast=true", "fast", True),
  )
  def test_a_field_takes_its_value(self, override, path, value):
    config = overrides.apply(Outer(), [override])
    self.assertEqual(overrides.flatten(config)[path], value)
    self.assertIs(type(overrides.flatten(config)[path]), type(value))

  def test_fields_that_must_agree_are_set_together(self):
    for order in (1, -1):
      both = ["model.width=200", "model.rate=0.05"][::order]
      config = overrides.apply(Outer(), both)
      self.assertEqual(config, Outer(model=Inner(width=200, rate=0.05)))
    with self.assertRaisesRegex(ValueError, "model.width=200: .* needs a rate"):
      overrides.apply(Outer(), ["model.width=200"])

  def test_the_last_override_wins_and_others_stay(self):
    config = overrides.apply(Outer(), ["model.width=3", "model.width=4"])
    self.assertEqual(config, Outer(model=Inner(width=4)))

  @parameterized.parameters(
    ("model.widht=3", "did you mean one of: model.width"),
    ("width=3", "model.width, teacher.width"),
    ("model=3", "model has fields, set one of them: model.width"),
    ("model.width", "write it as path=value"),
    ("model.width=wide", "'wide' is not allowed, the type is: int"),
    ("model.width=1.5", "the type is: int"),
    ("model.width=0", "width=0 must be at least 1"),
    ("model.rate=fast", "the type is: float"),
    ("model.name=adma", r"'adma' is not one of \['adam', 'sgd'\]"),
    ("sizes=4,x", "'x' is not allowed, the type is: int"),
    ("limit=x", "the type is: int"),
    ("fast=1", "the type is: true or false"),
  )
  def test_a_bad_override_is_explained(self, override, message):
    with self.assertRaisesRegex(ValueError, f"^--set={override}: .*{message}"):
      overrides.apply(Outer(), [override])

  def test_a_config_is_restored_from_its_json(self):
    config = Outer(Inner(rate=0.25), sizes=(3,), limit=None, fast=True)
    leaves = json.loads(json.dumps(overrides.flatten(config)))
    self.assertEqual(overrides.restore(Outer(), leaves), config)

  def test_another_config_is_not_restored(self):
    leaves = overrides.flatten(Outer()) | {"depth": 3}
    del leaves["model.rate"]
    with self.assertRaisesRegex(
      ValueError, r"missing fields: \['model.rate'\], unknown .*\['depth'\]"
    ):
      overrides.restore(Outer(), leaves)

  def test_fields_of_pace_are_found_at_any_depth(self):
    field = ("every", int, dataclasses.field(metadata={"pace": True}))
    inner = dataclasses.make_dataclass("Part", [field, ("width", int)])
    outer = dataclasses.make_dataclass("Whole", [("part", inner)])
    self.assertEqual(overrides.pace(outer(inner(1, 2))), {"part.every"})

  def test_difference_names_both_sides(self):
    lines = overrides.difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    self.assertEqual(
      lines, ["b: 2 there, 3 here", "c: '(absent)' there, 4 here"]
    )


if __name__ == "__main__":
  absltest.main()
