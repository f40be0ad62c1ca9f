"""Starts a process so that it ends with ours, and finds the children of one."""

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
    """Start the command in a session of its own, as `user` if given, output into `log`.

    When our process ends, however it ends, the kernel sends it `orphan_signal` (on Linux).
    """
    return _in_lasting_thread(
        lambda: subprocess.Popen(  # noqa: S603
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
            preexec_fn=functools.partial(_die_with_owner, os.getpid(), orphan_signal),
        )
    )


def children(pid: int) -> list[int]:
    """Return the process ids of the children of `pid`; none where there is no /proc."""
    stats = {int(folder.name): _stat(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    return [child for child, stat in stats.items() if stat and int(stat[1]) == pid]


def is_alive(pid: int) -> bool:
    """Tell whether the process exists and is more than an entry that nobody has collected yet."""
    stat = _stat(pid)
    return bool(stat) and stat[0] != "Z"


def _stat(pid: int) -> list[str]:
    """Return state, parent, ... of a process, nothing when it is gone."""
    with contextlib.suppress(OSError):
        # The name comes before, in parentheses, and may itself hold blanks and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _die_with_owner(owner: int, number: signal.Signals) -> None:
    """Ask the kernel, in the child, for the signal."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != owner:  # it has died already
            os._exit(1)


def _in_lasting_thread(make: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Fork in a thread that lasts as long as we do: to the kernel the forking *thread* is the parent."""
    result: Future[subprocess.Popen[bytes]] = Future()
    _lasting_thread(os.getpid()).put((make, result))
    return result.result()


_Job = tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]


@functools.cache
def _lasting_thread(pid: int) -> "queue.SimpleQueue[_Job]":
    """Return the queue of that thread, one per process: a fork does not inherit threads."""
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    threading.Thread(target=_work, args=(jobs,), daemon=True, name="spawns servers").start()
    return jobs


def _work(jobs: "queue.SimpleQueue[_Job]") -> None:
    while True:
        make, result = jobs.get()
        try:
            result.set_result(make())
        except Exception as error:
            result.set_exception(error)
