"""Block sizes by device and case; written by the tuning command.

python -m launch.benchmark --tune

A case is `(kernel, bytes, D)` or the beginning of one, and sizes are `(rows,
keys, warps, stages)`: see `sizes`. Entries of devices that were not tuned are
compiled for, not measured.
"""

TABLE = {
  "NVIDIA H": {
    ("forward", 2, 64): (128, 64, 8, 3),
    ("forward", 2, 128): (128, 64, 8, 2),
    ("backward_q", 2, 64): (128, 64, 8, 2),
    ("backward_q", 2, 128): (128, 64, 8, 2),
    ("backward_kv", 2, 64): (64, 128, 8, 2),
    ("backward_kv", 2, 128): (32, 128, 8, 2),
  },
  "default": {
    ("forward", 2, 64): (64, 64, 4, 2),
    ("forward", 2, 128): (128, 64, 8, 2),
    ("forward", 2, 256): (64, 64, 8, 2),
    ("forward", 4, 64): (64, 32, 4, 2),
    ("forward", 4, 128): (32, 32, 4, 2),
    ("forward", 4, 256): (16, 16, 8, 1),
    ("backward_q", 2, 64): (64, 64, 4, 2),
    ("backward_q", 2, 128): (64, 64, 8, 2),
    ("backward_q", 2, 256): (64, 32, 8, 2),
    ("backward_q", 4, 64): (32, 32, 4, 2),
    ("backward_q", 4, 128): (16, 32, 8, 2),
    ("backward_q", 4, 256): (16, 16, 8, 1),
    ("backward_kv", 2, 64): (32, 64, 4, 2),
    ("backward_kv", 2, 128): (64, 64, 8, 2),
    ("backward_kv", 2, 256): (32, 64, 8, 2),
    ("backward_kv", 4, 64): (32, 32, 4, 2),
    ("backward_kv", 4, 128): (16, 16, 4, 2),
    ("backward_kv", 4, 256): (16, 16, 8, 1),
  },
}
