"""The ``s4c`` command: translation only, one file per group; the work is importable without it."""
