"""Terminal output: messages, progress bars, tables, exit codes."""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from tabulate import tabulate
from tqdm import tqdm

from detfinetune._detectron2 import ignore_known_warnings
from detfinetune.errors import ConfigError, DetFinetuneError

T = TypeVar("T")

# A terminal can be redrawn often; a log file gets a line every 15 seconds.
_REDRAW_SECONDS_TERMINAL = 0.2
_REDRAW_SECONDS_LOG = 15.0
_SECONDS_TO_REPORT = 10.0
_SECONDS_OF_SILENCE = 2.0
_LOG_FORMAT = (
    "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a disk, or a quota, that is full."""


# Line feeds and tabs may be our own. Half surrogates stand for bytes of file names not in UTF-8.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def escape_name(text: str) -> str:
    """Return a file or class name in one line: control characters as in `\\n` and `\\x1b`."""
    return _escape(text).replace("\n", "\\n").replace("\t", "\\t")


def name_list(names: Sequence[str], most: int = 20) -> str:
    """Return names with commas, in one line; of more than `most`, the rest as a count."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(escape_name, names[:most])) + more


def _escape(text: str) -> str:
    """Escape what a terminal would obey, such as colours and cursor movements, or cannot print."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str = "") -> None:
    """Print a line above any progress bar."""
    try:
        with _unless_full():
            tqdm.write(_escape(text), file=sys.stdout)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (head, less) has quit; continue without it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(text: str) -> None:
    """Print a warning to standard error, above any progress bar."""
    with _unless_full():
        tqdm.write(f"warning: {_escape(text)}", file=sys.stderr)


@contextmanager
def _unless_full() -> Iterator[None]:
    """Drop output that goes to a file on a full disk, which must not end what is being done."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise


@contextmanager
def after(seconds: float, report: Callable[[], None]) -> Iterator[None]:
    """Call `report`, in another thread, if the block takes longer."""
    timer = threading.Timer(seconds, report)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Say what the block does if it takes seconds, in which no progress bar would move."""
    with after(_SECONDS_OF_SILENCE, lambda: say(f"{text} ...")):
        yield


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
            with _unless_full():
                sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        """Flush standard error."""
        with _unless_full():
            sys.stderr.flush()


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str], digits: int = 1) -> str:
    """Format rows as a plain-text table; floats with `digits` decimals, None and NaN as '-'."""
    cells = [[_cell(cell, digits) for cell in row] for row in rows]
    return tabulate(
        cells,
        headers=[escape_name(text) for text in headers],
        tablefmt="simple",
        floatfmt=f".{digits}f",
    )


def _cell(cell: Any, digits: int) -> Any:
    """Format floats here, because tabulate does not format columns that contain a '-'."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return "-"
    if isinstance(cell, float):
        return f"{cell:.{digits}f}"
    return escape_name(cell) if isinstance(cell, str) else cell


def _leave_report_to_main_process() -> None:
    """Wait in all other processes until torchrun ends them.

    It does so when the main process fails, which reports the same error.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        time.sleep(_SECONDS_TO_REPORT)


def _check_working_directory() -> None:
    """Check that it exists: without it torch cannot even be imported.

    Raises:
        ConfigError: it was removed.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "The working directory has been removed. Change to a folder that exists (cd FOLDER) "
            "and rerun."
        ) from None


_SCRIPTS = {"train": "train_net", "check": "check_dataset", "convert": "convert_labels"}


def command_line(name: str) -> str:
    """Return how this process's user calls a command: by its name, or as a script of `tools/`."""
    tools = Path(__file__).resolve().parents[1] / "tools"
    if Path(sys.argv[0]).resolve().parent == tools:
        return f"python tools/{_SCRIPTS.get(name, name)}.py"
    return f"detfinetune {name}"


def prepare_process() -> None:
    """Set what must be set before torch is imported, for the commands and for Python."""
    # A thread that waits would keep a core busy, and slow down all others on a shared machine.
    # OpenMP reads this once, when torch is imported; processes started from here inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    ignore_known_warnings()


def run_tool(main: Callable[[list[str]], int | None], argv: list[str]) -> NoReturn:
    """Run a command: user errors become a message and exit code 2, without a traceback.

    `DETFINETUNE_TRACEBACK=1` shows the traceback as well. Ctrl-C exits with 130.
    """
    prepare_process()
    try:
        _check_working_directory()
        code = main(argv)
    except DetFinetuneError as error:
        if os.environ.get("DETFINETUNE_TRACEBACK") == "1":
            raise
        if not error.one_process_only:
            _leave_report_to_main_process()
        print(f"error: {_escape(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except OSError as error:
        if error.errno in NO_ROOM and os.environ.get("DETFINETUNE_TRACEBACK") != "1":
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
        name = escape_name(str(error.filename))
        print(f"error: {name}: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    sys.exit(code or 0)
