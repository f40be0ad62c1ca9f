"""A Celery task that does nothing but say so: `celery -A benchmarks.programs.bare_celery worker`."""

import os
import time

from celery import Celery
from redis import Redis

URL = os.environ["REDIS_URL"]
SAID = "bare-said"

app = Celery("bare", broker=URL)
app.conf.update(
    task_default_queue="bare",
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    task_publish_retry=False,
)
redis = Redis.from_url(URL)


@app.task(name="say")
def say(number: int) -> None:
    """Answer on a list in Redis, the shortest way back there is."""
    redis.lpush(SAID, number)


def round_trips(count: int) -> list[float]:
    """Seconds from sending a task until its answer is in, one at a time."""
    times = []
    for number in range(count):
        began = time.perf_counter()
        app.send_task("say", [number])
        redis.brpop([SAID], timeout=10)
        times.append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    round_trips(20)  # warm
    print(*round_trips(100))
