"""Real bytes to train and test on: those of every Python, and the user's."""

from collections.abc import Iterable, Iterator
import importlib
import os
import pathlib
import sysconfig
import types

BUNDLED_BYTES = 4_000_000
READ_BYTES = 100_000_000


def bundled(name: str, max_bytes: int = BUNDLED_BYTES) -> bytes:
  """A corpus made from the running Python's own files, without a download.

  The same bytes on every machine with the same release of Python.

  Args:
    name: "prose", the language reference and its topics in English;
      "code", the modules of the standard library in order of name; or
      "bytecode", the instructions that these modules compile to, without
      names and strings.
    max_bytes: the corpus ends there, if not before; at least 1.

  Returns:
    From 1 to `max_bytes` bytes.

  Raises:
    ValueError: the name is unknown, `max_bytes` is below 1, or this Python
      came without the files.
  """
  if name not in _BUNDLED:
    raise ValueError(f"name={name!r} is not one of {list(_BUNDLED)}")
  data = _join(_BUNDLED[name](), max_bytes)
  if not data:
    raise ValueError(
      f"name={name!r}: no files for it in {_library()}. Install the whole "
      "standard library of Python, or give a file or folder of your own"
    )
  return data


def read(path: str | os.PathLike, max_bytes: int = READ_BYTES) -> bytes:
  """The bytes of a file, or of all files in a folder, in order of their paths.

  In a folder, what is hidden, cannot be opened or is not a regular file is
  passed over, and links to other folders are not followed.

  Args:
    path: a file or a folder.
    max_bytes: reading ends there, if not before; at least 1.

  Returns:
    From 1 to `max_bytes` bytes.

  Raises:
    ValueError: there is nothing at `path`, or nothing to read in it; or
      `max_bytes` is below 1.
  """
  root = pathlib.Path(path).expanduser()
  if not root.exists():
    raise ValueError(
      f"path={str(path)!r} does not exist (looked for {root.absolute()}): "
      "give the path of a file or folder"
    )
  data = _join(_files(root), max_bytes)
  if data:
    return data
  if root.is_dir():
    raise ValueError(
      f"path={str(path)!r} is a folder without a file that is regular, "
      "readable, not hidden and not empty: put text into it, or give another"
    )
  raise ValueError(
    f"path={str(path)!r} is empty, unreadable or no regular file: check it "
    "with `ls -l`, or give another"
  )


def _join(chunks: Iterable[bytes], max_bytes: int) -> bytes:
  if max_bytes < 1:
    raise ValueError(f"max_bytes={max_bytes} must be at least 1")
  data = bytearray()
  for chunk in chunks:
    data += chunk[: max_bytes - len(data)]
    if len(data) == max_bytes:
      break
  return bytes(data)


def _files(root: pathlib.Path) -> Iterator[bytes]:
  for path in [root] if root.is_file() else sorted(_visible(root)):
    try:
      with path.open("rb") as file:
        yield from iter(lambda file=file: file.read(2**20), b"")
    except OSError:
      continue  # one file without permission should not cost the others


def _visible(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  for parent, folders, names in os.walk(folder):
    folders[:] = [name for name in folders if not name.startswith(".")]
    for name in names:
      path = pathlib.Path(parent, name)
      if not name.startswith(".") and path.is_file():  # a pipe would wait
        yield path


def _library() -> pathlib.Path:
  return pathlib.Path(sysconfig.get_path("stdlib"))


def _prose() -> Iterator[bytes]:
  """Each paragraph once: topics share them, and a test part must be new."""
  try:
    topics = importlib.import_module("pydoc_data.topics").topics
  except ImportError:
    return
  text = "\n\n".join(topics[name] for name in sorted(topics))
  yield "\n\n".join(dict.fromkeys(text.split("\n\n"))).encode()


def _code() -> Iterator[bytes]:
  for path in sorted(_library().glob("*.py")):
    yield path.read_bytes()


def _bytecode() -> Iterator[bytes]:
  for source in _code():
    code = compile(source, "", "exec", dont_inherit=True, optimize=0)
    yield from _instructions(code)


def _instructions(code: types.CodeType) -> Iterator[bytes]:
  """Not `marshal`, whose bytes depend on reference counts."""
  yield code.co_code
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      yield from _instructions(constant)


_BUNDLED = {"prose": _prose, "code": _code, "bytecode": _bytecode}
