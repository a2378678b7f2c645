"""A no-op task of Celery, its queue and its results in MongoDB: what bench/worker.ts compares with.

Run: celery_noop.py COUNT fills the queue; celery -A celery_noop worker executes.
"""
import os
import sys

from celery import Celery

url = os.environ["MONGO_URL"]
app = Celery("noop", broker=url + "/bench_celery", backend=url + "/bench_celery_results")
# As our worker has it: a task is acknowledged when it has been executed.
app.conf.task_acks_late = True


@app.task(name="noop")
def noop(event):
    return None


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        noop.delay({"namespace": "local", "event_type": "zmq.test", "payload": {"n": number}})
