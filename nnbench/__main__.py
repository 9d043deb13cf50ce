"""The command line: a first argument that names a command goes to click, everything else is Hydra's."""

import os
import sys

from nnbench.places import COMMANDS


def main() -> int:
    """Run the command line of this process; return the exit status."""
    # The console script, unlike `python -m`, does not find the user's own modules in the current folder.
    if str(os.getcwd()) not in sys.path and "" not in sys.path:  # noqa: PTH109 - the text that Python itself would add
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        from nnbench.commands import commands

        return commands.main(standalone_mode=True)
    try:
        from nnbench.app import run

        return run()
    except KeyboardInterrupt:  # before the sweep started, or for the second time
        sys.stderr.write("stopped\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
