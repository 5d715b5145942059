"""``s4c slurm cluster``: a real Slurm on this machine, for development and for a first look."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4c_hpc.cli.output import print_table, say

if TYPE_CHECKING:
    from s4c_hpc.slurm.cluster import Cluster

app = typer.Typer(help="A development cluster: a real Slurm on this machine.", no_args_is_help=True)

FolderArgument = Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder that holds all of the cluster.")]
HERE = Path(".s4c-cluster")


@app.command()
def up(
    folder: FolderArgument = HERE,
    nodes: Annotated[int | None, typer.Option(help="Nodes.  [default: 4, or as last time]")] = None,
    cpus: Annotated[
        int | None, typer.Option(help="Cores each node says it has; may be more than there are.  [default: 4]")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Memory each node says it has.  [default: 16GiB]"),
    ] = None,
    port: Annotated[int | None, typer.Option(help="First port; free ones are looked for when not given.")] = None,
    cgroup: Annotated[
        bool | None, typer.Option("--cgroup/--no-cgroup", help="Let the kernel limit memory (needs root).")
    ] = None,
) -> None:
    """Start a cluster, or start it again; prints the line that makes a shell use it."""
    from s4c_hpc.slurm.cluster import Cluster
    from s4c_hpc.slurm.cluster_config import parse_memory

    cluster = Cluster(
        folder,
        nodes=nodes,
        cpus=cpus,
        memory_bytes=None if memory is None else parse_memory(memory),
        port=port,
        cgroup=cgroup,
    )
    started = time.monotonic()
    if cluster.up():
        say(f"{cluster.settings.nodes} nodes serve after {time.monotonic() - started:.1f} s")
    else:
        say("it is up already")
    _print_use(cluster)


@app.command()
def down(
    folder: FolderArgument = HERE,
    purge: Annotated[bool, typer.Option("--purge", help="Remove its accounts, logs and settings, too.")] = False,
) -> None:
    """End all processes of a cluster, jobs included; without --purge it can be started again as it was."""
    from s4c_hpc.slurm.cluster import Cluster

    cluster = Cluster(folder)
    ended = cluster.purge() if purge else cluster.down()
    say("it is down" if ended else "it was down already")


@app.command()
def status(folder: FolderArgument = HERE) -> None:
    """Show daemons, nodes and jobs; leaves with 7 if the cluster is not up."""
    from s4c_hpc.core.errors import SchedulerError
    from s4c_hpc.slurm.cluster import Cluster

    cluster = Cluster(folder)
    daemons = cluster.daemons.values()
    print_table([{"daemon": d.name, "pid": d.pid() or "down", "log": str(d.output)} for d in daemons])
    if missing := [d.name for d in daemons if d.pid() is None]:
        all_of_it = len(missing) == len(daemons)
        raise SchedulerError(
            "the cluster is down" if all_of_it else f"down: {', '.join(missing)}",
            where=str(cluster.root),
            hint=f"start it with: s4c slurm cluster up {shlex.quote(str(folder))}",
        )
    typer.echo()
    typer.echo(cluster.run("sinfo", "-o", "%10P %6t %5D %10N %C"))
    typer.echo(cluster.run("squeue", "-o", "%10i %12q %20j %10T %10M %r"))
    _print_use(cluster)


def _print_use(cluster: Cluster) -> None:
    """The lines for a shell that is to use the cluster."""
    for name, value in cluster.env.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
