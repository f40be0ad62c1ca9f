"""Where processes that serve the same metrics keep their figures, so that each shows the sum of all.

prometheus_client wants the folder in an environment variable before it is imported for the first time.
"""

import atexit
import contextlib
import multiprocessing
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


def share() -> None:
    """Choose the folder, if this process shares its figures with others; before prometheus_client is imported."""
    program = Path(sys.argv[0])
    has_address = {"WORKER_METRICS_ADDRESS", "WORKER_METRICS_ADDRESS_FILE"} & os.environ.keys()
    if "celery" in program.parts and "worker" in sys.argv and has_address:
        # Tasks run in children, and their parent serves what they count.
        folder = tempfile.mkdtemp(prefix="dock-cloud-worker-")
        os.environ[VARIABLE] = folder
        owner = os.getpid()
        atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    elif "uvicorn" in program.parts and (parent := multiprocessing.parent_process()) is not None:
        # A child of `uvicorn --workers`: its siblings have the same parent.
        share_with_siblings(Path(tempfile.gettempdir()) / f"dock-cloud-web-{os.getuid()}-{parent.pid}")


def share_with_siblings(folder: Path) -> None:
    """Make the folder unless a sibling has; one that somebody else made, in a place for all, is not used."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
        os.environ[VARIABLE] = str(folder)


def shared_folder() -> Path | None:
    """The folder, without the present state of processes that are gone; None if this process has its own figures."""
    if VARIABLE not in os.environ:
        return None
    folder = Path(os.environ[VARIABLE])
    for file in folder.glob("gauge_live*_*.db"):
        if not Path(f"/proc/{file.stem.rpartition('_')[2]}").exists():
            file.unlink(missing_ok=True)
    return folder
