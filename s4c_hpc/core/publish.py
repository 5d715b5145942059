"""Where a running task writes: a private folder first, the workspace when whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from s4c_hpc.core.atomic import publish_new, publish_replacing


@dataclass
class Publisher:
    """Publishes the outputs of one task attempt."""

    root: Path
    """The workspace."""
    scratch: Path
    """Private folder of this attempt, on the same file system as the workspace."""
    published: list[str] = field(default_factory=list)
    """Workspace-relative paths, in the order in which they were asked for."""
    twins_discarded: int = 0

    @contextlib.contextmanager
    def new(self, relative: str) -> Iterator[Path]:
        """Yield a private path; on a clean exit it becomes ``relative`` unless another attempt was first."""
        with self._private(relative) as temporary:
            yield temporary
            self.twins_discarded += not publish_new(temporary, self.root / relative)

    @contextlib.contextmanager
    def replace(self, relative: str) -> Iterator[Path]:
        """Yield a private path; on a clean exit it replaces ``relative`` (deliverables with a fixed name)."""
        with self._private(relative) as temporary:
            yield temporary
            publish_replacing(temporary, self.root / relative)

    @contextlib.contextmanager
    def _private(self, relative: str) -> Iterator[Path]:
        self.scratch.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch / f"{len(self.published):04d}-{Path(relative).name}"
        try:
            yield temporary
            self.published.append(relative)
        finally:
            temporary.unlink(missing_ok=True)
