"""TVM (Relax): a kernel becomes one Relax module, `schedule/` makes it fast, TVM compiles it to a library that needs its runtime only."""
