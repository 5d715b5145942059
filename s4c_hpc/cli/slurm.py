"""``s4c slurm``: check a site profile, make QoS."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4c_hpc.cli import cluster
from s4c_hpc.cli.options import HERE, JsonOption, SetOption, WorkspaceOption, open_workspace
from s4c_hpc.cli.output import print_json, print_table, say
from s4c_hpc.core.text import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from s4c_hpc.config.slurm import QosLimits
    from s4c_hpc.slurm.rows import QosRow

app = typer.Typer(
    help="Check a cluster against the configuration, make its QoS, start a development cluster.", no_args_is_help=True
)
app.add_typer(cluster.app, name="cluster")


@app.command()
def check(
    workspace: WorkspaceOption = HERE,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also run a job of a minute, for what only a node can tell.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the site profile with the live cluster; exit code 3 if it does not fit, 7 if there is no Slurm."""
    from s4c_hpc.core.errors import ExitCode
    from s4c_hpc.slurm.admin import AdminClient
    from s4c_hpc.slurm.check import is_fit, judge
    from s4c_hpc.slurm.deep import check_on_node
    from s4c_hpc.slurm.finding import Finding, Verdict
    from s4c_hpc.slurm.survey import take_survey

    ws, loaded = open_workspace(workspace, overrides)
    site = loaded.config.slurm
    client = AdminClient.of(site)
    findings = judge(site, take_survey(client, site))
    if not deep:
        asked = "nodes may submit" if site.nodes_may_submit else "nodes may not submit"
        untried = Finding(item="nodes", profile=asked, cluster="", verdict=Verdict.UNTRIED, hint="give --deep")
        findings.append(untried)
    elif is_fit(findings):
        findings += check_on_node(client, site, ws.root, on_wait=lambda reason: say(f"the job waits: {reason}"))
    else:
        say("no job is tried before the rest fits")
    if as_json:
        print_json([asdict(found) for found in findings])
    else:
        print_table({name: value for name, value in asdict(found).items() if name != "hint"} for found in findings)
        for found in findings:
            if found.hint:
                say(f"{found.verdict}: {found.item}: {found.hint}")
    if not is_fit(findings):
        raise typer.Exit(int(ExitCode.CONFIG))


@app.command()
def qos(
    workspace: WorkspaceOption = HERE,
    apply: Annotated[
        bool, typer.Option("--apply", help="Make the changes; needs an operator of the accounting.")
    ] = False,
    users: Annotated[
        list[str] | None, typer.Option("--user", help="Who may use them; may be repeated; you if not given.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the commands that make the QoS set, or apply them; show the use of each QoS against its limits."""
    from s4c_hpc.slurm.admin import AdminClient
    from s4c_hpc.slurm.qos import foreign_qos, left_preempting, plan_qos

    _, loaded = open_workspace(workspace, overrides)
    site = loaded.config.slurm
    client = AdminClient.of(site)
    planned = plan_qos(site, client.limits(), client.nodes(), users or [])
    existing = {row.name: row for row in client.qos()}
    if apply:
        client.apply_qos(planned.limits, planned.grant, existing)
        existing = {row.name: row for row in client.qos()}
        say(f"{', '.join(planned.limits)}: limits are set; {', '.join(planned.grant.users)} may use them")
        for name, others in left_preempting(planned.limits, existing).items():
            say(f"{name} still preempts {', '.join(others)}: clear it by hand and start slurmdbd anew")
    shown = [*planned.limits, *foreign_qos(site)]
    rows = qos_rows(shown, existing, client.waiting(shown))
    if as_json:
        print_json({"script": planned.script, "limits": _limits(planned.limits), "use": rows})
        return
    if not apply:
        typer.echo(planned.script, nl=False)
    with contextlib.redirect_stdout(sys.stderr):  # standard output is a script, or empty
        print_table(rows)


def qos_rows(
    names: Iterable[str], existing: Mapping[str, QosRow], waiting: Mapping[str, Mapping[str, int]]
) -> list[dict[str, Any]]:
    """Use of each QoS by the jobs of everybody, as ``use/limit`` where there is a limit.

    Parameters
    ----------
    names : of QoS
    existing : what the cluster knows of each
    waiting : number of jobs by reason, ``running`` for those that run
    """
    rows = []
    for name in names:
        row, reasons = existing.get(name), dict(waiting.get(name, {}))
        line: dict[str, Any] = {"qos": name, "jobs": "", "cores": "", "memory": "", "running": 0, "pending": 0}
        line |= {"running": reasons.pop("running", 0), "pending": sum(reasons.values())}
        if row is None:
            line["why"] = "there is no such QoS"
        else:
            use = row.use
            in_use = {} if use is None else {"cpu": 0, "mem": 0, **use.tres}
            line["jobs"] = _share(None if use is None else use.jobs, row.grp_jobs)
            line["cores"] = _share(in_use.get("cpu"), row.grp_tres.get("cpu"))
            line["memory"] = _share(_size(in_use.get("mem")), _size(row.grp_tres.get("mem")))
            line["why"] = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        rows.append(line)
    return rows


def _size(n_bytes: int | None) -> str | None:
    return None if n_bytes is None else human_bytes(n_bytes)


def _share(use: int | str | None, limit: int | str | None) -> str:
    return f"{'?' if use is None else use}/{'-' if limit is None else limit}"


def _limits(limits: Mapping[str, QosLimits]) -> dict[str, Any]:
    return {name: own.model_dump(mode="json") for name, own in limits.items()}
