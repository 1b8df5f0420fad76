"""`rnnverify check`: every comparison that a config declares."""

from __future__ import annotations

from rnnverify.cli.given import limits_of
from rnnverify.cli.leaving import console, leave_with
from rnnverify.cli.options import (
    ConfigFile,
    Debug,
    FailFast,
    Format,
    FormatOption,
    Jobs,
    Memory,
    Only,
    Output,
    Reports,
    Scheduler,
    Timeout,
    Update,
)


def check(
    config: ConfigFile = None,
    only: Only = None,
    update: Update = False,
    fail_fast: FailFast = False,
    jobs: Jobs = 1,
    scheduler: Scheduler = "",
    timeout: Timeout = 600.0,
    memory: Memory = 0.0,
    format: FormatOption = Format.terminal,
    output: Output = None,
    reports: Reports = None,
    debug: Debug = False,
) -> None:
    """Make every comparison that rnnverify.toml declares, in one go.

    \b
    rnnverify check
    rnnverify check --only 'encoder*' --fail-fast
    rnnverify check --report junit=port.xml --report html=port.html
    rnnverify check --scheduler tcp://host:8786    # on a Dask cluster whose machines share these files
    rnnverify check --update    # accept what passes as rnnverify.lock; later runs fail where a deviation grows
    """

    from rnnverify.beside import Beside

    beside = Beside(reports or ())

    def work() -> tuple[str, int]:
        beside.prepare(output)
        from rnnverify.check import How
        from rnnverify.check import check as check_all
        from rnnverify.config import find_config, read_config
        from rnnverify.reports.checked import progress, render

        how = How(tuple(only or ()), fail_fast, jobs, update, limits_of(timeout, memory), scheduler)
        declared = read_config(config or find_config())
        with progress() as shown:
            checked = check_all(declared, how, shown)
        width, color = console(output)
        text = render(checked, format.value, width=width, color=color)
        beside.checked(checked)
        return text, checked.exit_code

    leave_with(work, format, output, debug, beside)
