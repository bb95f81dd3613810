"""What strangers might give, and that it is refused or right.

python -m tests.fuzz ops --count 20000 --seed 0
"""

import importlib
import sys
from pathlib import Path

PARTS = sorted(
    path.stem
    for path in Path(__file__).parent.glob("[a-z]*.py")
    if "\ndef main(arguments)" in path.read_text()
)

if __name__ == "__main__":
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part not in PARTS:
        sys.exit(f"python -m tests.fuzz {'|'.join(PARTS)} [--help]")
    sys.exit(importlib.import_module(f"tests.fuzz.{part}").main(sys.argv[2:]))
