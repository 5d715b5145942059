"""Answers about jobs: the text of sbatch, squeue and sacct as rows."""

from __future__ import annotations

import re

from s4c_hpc.slurm.errors import SlurmFailed, SubmitInDoubt
from s4c_hpc.slurm.rows import AccountingRow, QueueRow
from s4c_hpc.slurm.units import epoch, indices, integer, size_bytes, tres

FIELD = "\x1f"
RECORD = "\x1e"
"""ASCII's own separators: names and comments of jobs may hold anything that can be typed, line breaks included."""

QUEUE_FORMAT = RECORD + FIELD.join(f"%{letter}" for letter in "AFKTrkqPaNVSj")
ACCOUNTING_FORMAT = "JobIDRaw,JobID,State,ExitCode,Submit,Start,End,ElapsedRaw,MaxRSS,ReqTRES,NodeList,JobName"


def parse_submitted(stdout: str) -> int:
    """Job id from ``sbatch --parsable``: the last line, ``<id>`` or ``<id>;<cluster>``.

    Raises
    ------
    SubmitInDoubt
        If there is none: sbatch says that all is well, so there is a job.
    """
    for line in reversed(stdout.splitlines()):
        # Plug-ins of a site print greetings and warnings there as well.
        if match := re.fullmatch(r"(\d+)(?:;\S+)?", line.strip()):
            return int(match[1])
    raise SubmitInDoubt(
        f"sbatch reported success without a job id: {stdout.strip()!r}", hint="the job is looked for by its name"
    )


def parse_queue(stdout: str) -> list[QueueRow]:
    """Rows of squeue in ``QUEUE_FORMAT``; a collapsed line of waiting array elements becomes a row for each.

    Raises
    ------
    SlurmFailed
        If a record does not have its fields.
    """
    rows: list[QueueRow] = []
    for record in stdout.split(RECORD)[1:]:
        try:
            rows += _queue_rows(*record.removesuffix("\n").split(FIELD))
        except (TypeError, ValueError) as error:
            raise SlurmFailed("squeue said something that cannot be read", where=repr(record)) from error
    return rows


def _queue_rows(
    job_id: str,
    array_id: str,
    index: str,
    state: str,
    reason: str,
    comment: str,
    qos: str,
    partition: str,
    account: str,
    nodes: str,
    submit: str,
    start: str,
    name: str,
) -> list[QueueRow]:
    elements: list[int | None] = [None] if index == "N/A" else [*indices(index.strip("[]"))]
    return [
        QueueRow(
            name=name,
            index=element,
            state=state,
            reason="" if reason == "None" else reason,
            job_id=int(job_id),
            array_id=int(array_id),
            comment="" if comment == "(null)" else comment,
            qos=qos,
            partition=partition,
            account=account,
            nodes=nodes,
            submit=epoch(submit),
            start=epoch(start),
        )
        for element in elements
    ]


def parse_accounting(stdout: str) -> list[AccountingRow]:
    """Rows of ``sacct -P -n`` in ``ACCOUNTING_FORMAT``, steps after their job, with its name and index.

    Raises
    ------
    SlurmFailed
        If a line does not have its fields.
    """
    rows: list[AccountingRow] = []
    job_name = ""
    for line in filter(None, stdout.split("\n")):
        fields = line.split(FIELD)
        try:
            is_step = "." in fields[1]
            job_name = job_name if is_step else fields[-1]
            rows += _accounting_rows(job_name, *fields[:-1])
        except (IndexError, TypeError, ValueError) as error:
            raise SlurmFailed("sacct said something that cannot be read", where=repr(line)) from error
    return rows


def _accounting_rows(
    name: str,
    raw: str,
    job_id: str,
    state: str,
    exit_code: str,
    submit: str,
    start: str,
    end: str,
    elapsed: str,
    max_rss: str,
    asked: str,
    nodes: str,
) -> list[AccountingRow]:
    job, _, step = job_id.partition(".")
    index = job.partition("_")[2]
    elements: list[int | None] = [*indices(index.strip("[]"))] if index else [None]
    word, _, by = state.partition(" by ")
    code, _, signal = (exit_code or "0:0").partition(":")
    return [
        AccountingRow(
            name=name,
            index=element,
            job_id_raw=int(raw.partition(".")[0].partition("+")[0]),
            step=step,
            state=word,
            state_by=integer(by),
            exit_code=(int(code), int(signal)),
            submit=epoch(submit),
            start=epoch(start),
            end=epoch(end),
            elapsed_s=integer(elapsed) or 0,
            max_rss_bytes=size_bytes(max_rss),
            req_mem_bytes=tres(asked).get("mem"),
            node_list="" if nodes == "None assigned" else nodes,
        )
        for element in elements
    ]
