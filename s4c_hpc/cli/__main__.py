"""``python -m s4c_hpc.cli``: the same as ``s4c``."""

from s4c_hpc.cli.main import main

main()
