"""Use the processor for some seconds, as ``tests/support/probe_stage.py`` does: ``python peer_work.py SECONDS``."""

from __future__ import annotations

import hashlib
import sys
import time

until = time.process_time() + float(sys.argv[1])
while time.process_time() < until:
    hashlib.sha256(b"x" * 4096).digest()
