"""`python -m dync` and the `dync` command."""

import sys


def main() -> None:
    """Run the command line on `sys.argv` and exit with its code."""
    from dync.cli import invoke

    sys.exit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()
