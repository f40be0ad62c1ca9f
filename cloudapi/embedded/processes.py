"""Starts a process that ends with ours, and finds the children of a process."""

import contextlib
import ctypes
import functools
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from pwd import struct_passwd
from typing import IO

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec only the simplest calls are safe


def spawn(
    command: list[str],
    *,
    folder: Path,
    env: dict[str, str],
    log: IO[bytes],
    user: struct_passwd | None,
    orphan_signal: signal.Signals,
) -> subprocess.Popen[bytes]:
    """Start the command in its own session, as `user` if given, output into `log`.

    When our process ends, however it ends, the kernel sends it `orphan_signal` (on Linux).
    """
    owner = os.getpid()

    def die_with_owner() -> None:  # in the child, which asks the kernel for the signal
        if sys.platform == "linux":
            LIBC.prctl(PR_SET_PDEATHSIG, orphan_signal)
            if os.getppid() != owner:  # it has died already
                os._exit(1)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=env,
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=user and [],
            start_new_session=True,  # Ctrl-C in our terminal is for us
            preexec_fn=die_with_owner,
        )

    started: Future[subprocess.Popen[bytes]] = Future()
    _lasting_thread(owner).put((start, started))
    return started.result()


def children(pid: int) -> list[int]:
    """Return the process ids of the children of `pid`; none where there is no /proc."""
    stats = {int(folder.name): _stat(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    return [child for child, stat in stats.items() if stat and int(stat[1]) == pid]


def is_alive(pid: int) -> bool:
    """Tell whether the process exists and has not ended: its parent may not have collected it yet."""
    stat = _stat(pid)
    return bool(stat) and stat[0] != "Z"


def _stat(pid: int) -> list[str]:
    """Return state, parent, ... of a process, nothing when it is gone."""
    with contextlib.suppress(OSError):
        # The name comes before, in parentheses, and may itself hold blanks and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


_Job = tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]


@functools.cache
def _lasting_thread(pid: int) -> "queue.SimpleQueue[_Job]":
    """Return the queue of a thread that forks, one per process: a fork does not inherit threads.

    It lasts as long as our process does: to the kernel the *thread* that forks is the parent.
    """
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()

    def work() -> None:
        while True:
            start, started = jobs.get()
            try:
                started.set_result(start())
            except Exception as error:
                started.set_exception(error)

    threading.Thread(target=work, daemon=True, name="spawns servers").start()
    return jobs
