"""``s4c classify``: what a classification found, what a saved model is, and a saved model on feature files."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer

from s4c_hpc.cli.options import HERE, JsonOption, WorkspaceOption
from s4c_hpc.cli.output import print_json, print_table, say

app = typer.Typer(
    help="Look at crop types and use saved models; 's4c run' classifies, with [classify] enabled.", no_args_is_help=True
)

ModelArgument = Annotated[Path, typer.Argument(help="A saved model (.skops).")]


@app.command()
def show(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Print how good the classification of a workspace is, and where its page lies."""
    import json

    from s4c_hpc.core.errors import NoInputsError
    from s4c_hpc.core.workspace import Workspace

    ws = Workspace(workspace.resolve()).require()
    files = sorted(ws.markers.glob("l4a/*/*.accuracy.json"))
    if not files:
        raise NoInputsError(
            "nothing is classified yet", where=str(ws.markers), hint="set classify.enabled, then 's4c run'"
        )
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in files}
    if as_json:
        print_json({ws.relative(path): values for path, values in found.items()})
        return
    for path in files:
        say(f"page: {path.with_name(path.name.replace('.accuracy.json', '.html'))}")
    print_table(
        {
            "site": path.name.removesuffix(".accuracy.json"),
            "period": path.parent.name,
            "by": by.replace("_", "-"),
            "parcels": int(values[by]["n"]),
            "classes": len(values["classes"]),
            "accuracy": values[by]["accuracy"],
            "kappa": values[by]["kappa"],
            "macro-F1": values[by]["macro_f1"],
            "doubted": values["lights"].get("red", 0),
        }
        for path, values in found.items()
        for by in ("validation", "cross_validation")
        if values[by]
    )


@app.command()
def model(file: ModelArgument, as_json: JsonOption = False) -> None:
    """Print what a saved model tells apart, by which features, and how it was taught."""
    from s4c_hpc.classify.saved import read_model

    about = read_model(file)
    if as_json:
        print_json(about.about())
        return
    versions = ", ".join(f"{name} {number}" for name, number in about.software.items())
    say(f"site {about.site}, season from {about.season_start}; {versions}")
    for stratum, classes in about.classes.items():
        names = [f"{c} {about.names[c]}" if c in about.names else c for c in classes]
        say(f"{f'stratum {stratum}' if stratum else 'classes'}: {', '.join(names)}")
    say(", ".join(f"{key} = {value}" for key, value in about.config.items()))
    print_table(
        {"feature": k.feature, "statistic": k.statistic, "day": "" if k.day is None else k.day, "days": k.days}
        for k in about.features
    )


@app.command()
def apply(
    file: ModelArgument,
    features: Annotated[list[Path], typer.Argument(help="Feature files; layers behind those that they lie over.")],
    season_start: Annotated[
        dt.datetime, typer.Option(formats=["%Y-%m-%d"], help="First day of the season that the features are of.")
    ],
    stratum: Annotated[str, typer.Option(help="Stratum whose model judges, if there are several.")] = "",
    cores: Annotated[int, typer.Option(min=1, help="Cores to use.")] = 1,
) -> None:
    """Print the crop types that a saved model sees in feature files, as CSV.

    Features are matched by what they are and how long after the start of the season. In a run, classify.model_file does
    the same and also checks declarations.
    """
    import pyarrow.csv

    from s4c_hpc.classify.apply import apply_model
    from s4c_hpc.classify.saved import read_model

    table = apply_model(read_model(file), features, season_start.date(), stratum, cores)
    sys.stdout.flush()
    pyarrow.csv.write_csv(table, sys.stdout.buffer)
