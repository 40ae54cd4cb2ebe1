"""Puts tests/ on the path, so that `from support.programs import early_exit` works in every test."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
