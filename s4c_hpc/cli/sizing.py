"""``s4c plan --size``: how many jobs fit at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.core.text import human_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from s4c_hpc.config import Config
    from s4c_hpc.core.workspace import Workspace
    from s4c_hpc.slurm.sizing import ClusterFacts, Node


def print_sizing(ws: Workspace, config: Config, write: Path | None, as_json: bool) -> None:
    """Print how many jobs of each kind fit at once on the cluster, or without Slurm on this machine.

    Parameters
    ----------
    write : file for the site profile that follows; none is written if it is there

    Raises
    ------
    InputError
        If the file is there.
    NoInputsError
        If the cluster has no node that gets work.
    """
    from s4c_hpc.slurm.sizing import profile_text, size, write_profile

    nodes, cluster = _nodes(config)
    fits = size(nodes, config.slurm.demands)
    where = "this machine" if cluster is None else f"partition {cluster.partition}"
    cores, memory = sum(node.cpus for node in nodes), sum(node.mem_bytes for node in nodes)
    if as_json:
        print_json({"where": where, "nodes": [asdict(node) for node in nodes], "fits": [asdict(fit) for fit in fits]})
    else:
        print_table(
            {
                "job": fit.kind,
                "cores": fit.cpus,
                "memory": human_bytes(fit.mem_bytes),
                "at once": str(fit.jobs) if fit.jobs == fit.jobs_low else f"{fit.jobs} to {fit.jobs_low}",
                "limited by": fit.limit,
                "source": fit.source,
            }
            for fit in fits
        )
        say(f"{where}: {len(nodes)} node(s), {cores} cores, {human_bytes(memory)} for jobs; each kind alone")
    if write is not None:
        write_profile(write, profile_text(nodes, fits, cluster))
        say(f'wrote {write}; name it at the top of {ws.config}: profile = "{write.resolve()}"')


def _nodes(config: Config) -> tuple[list[Node], ClusterFacts | None]:
    """Nodes that get work, with the cluster they are of; this machine where there is no Slurm."""
    from s4c_hpc.slurm.admin import AdminClient
    from s4c_hpc.slurm.errors import SlurmMissing, SlurmUnreachable
    from s4c_hpc.slurm.sizing import cluster_facts, this_machine, usable_nodes

    client = AdminClient.of(config.slurm)
    try:
        rows = client.nodes()
        limits, partitions = client.limits(), client.partitions()
    except (SlurmMissing, SlurmUnreachable) as error:
        if config.execute.executor == "slurm":
            raise
        say(f"no Slurm here ({error.what})")
        return [this_machine()], None
    cluster = cluster_facts(config.slurm, limits, partitions)
    return usable_nodes(rows, cluster.partition), cluster
