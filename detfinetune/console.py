"""Terminal output: messages, progress bars, tables, exit codes."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from tabulate import tabulate
from tqdm import tqdm

from detfinetune._detectron2 import ignore_known_warnings
from detfinetune.errors import DetFinetuneError

T = TypeVar("T")

# A terminal can be redrawn often; a log file gets a line every 15 seconds.
_REDRAW_SECONDS_TERMINAL = 0.2
_REDRAW_SECONDS_LOG = 15.0
_SECONDS_TO_REPORT = 10.0
_LOG_FORMAT = (
    "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)


def say(text: str = "") -> None:
    """Print a line above any progress bar."""
    try:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (head, less) has quit; continue without it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(text: str) -> None:
    """Print a warning to standard error, above any progress bar."""
    tqdm.write(f"warning: {text}", file=sys.stderr)


def progress(
    iterable: Iterable[T] | None = None,
    *,
    description: str,
    total: int | None = None,
    unit: str = "it",
    initial: int = 0,
) -> tqdm[T]:
    """Return a progress bar with the estimated remaining time.

    On a terminal it is redrawn in place; in a log it writes a line every 15 seconds.
    """
    terminal = sys.stderr.isatty()
    options: dict[str, Any] = (
        {"dynamic_ncols": True, "mininterval": _REDRAW_SECONDS_TERMINAL, "file": sys.stderr}
        if terminal
        else {"bar_format": _LOG_FORMAT, "mininterval": _REDRAW_SECONDS_LOG, "file": _LogLines()}
    )
    bar = tqdm(
        iterable,
        desc=description,
        total=total,
        unit=unit,
        initial=initial,
        maxinterval=_REDRAW_SECONDS_LOG,
        smoothing=0.1,
        **options,
    )
    return cast("tqdm[T]", bar)


class _LogLines:
    """Writes a progress bar to standard error as whole lines, without redrawing."""

    def write(self, text: str) -> None:
        """Write one state of the bar as a line."""
        if line := text.strip("\r\n\x1b[A "):
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str], digits: int = 1) -> str:
    """Format rows as a plain-text table; floats with `digits` decimals, None and NaN as '-'."""
    cells = [[_cell(cell, digits) for cell in row] for row in rows]
    return tabulate(cells, headers=list(headers), tablefmt="simple", floatfmt=f".{digits}f")


def _cell(cell: Any, digits: int) -> Any:
    """Format floats here, because tabulate does not format columns that contain a '-'."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else cell


def _leave_report_to_main_process() -> None:
    """Wait in all other processes until torchrun ends them.

    It does so when the main process fails, which reports the same error.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        time.sleep(_SECONDS_TO_REPORT)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_tool(main: Callable[[list[str]], int | None]) -> None:
    """Run a command-line tool: user errors become a message and exit code 2, without a traceback.

    `DETFINETUNE_TRACEBACK=1` shows the traceback as well. Ctrl-C exits with 130.
    """
    # A thread that waits would keep a core busy, and slow down all others on a shared machine.
    # OpenMP reads this once, when torch is imported; processes started from here inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    ignore_known_warnings()
    try:
        code = main(sys.argv[1:])
    except DetFinetuneError as error:
        if os.environ.get("DETFINETUNE_TRACEBACK") == "1":
            raise
        if not error.one_process_only:
            _leave_report_to_main_process()
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except OSError as error:
        if error.errno in _NO_ROOM and os.environ.get("DETFINETUNE_TRACEBACK") != "1":
            # For an open file, Python does not report its name.
            print(  # noqa: T201
                f"error: the output does not fit on the disk ({error.strerror}). Free some space, "
                "or choose an output on another disk.",
                file=sys.stderr,
            )
            sys.exit(2)
        # No permission, or a folder instead of a file: a traceback would not help.
        if error.filename is None or os.environ.get("DETFINETUNE_TRACEBACK") == "1":
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    sys.exit(code or 0)
