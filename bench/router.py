"""The same work as the router in pyzmq: `router.py loop|proxy PULL_URI PUB_URI`, and both ends: `router.py ends PULL_URI PUB_URI COUNT`."""

import json
import sys
import threading
import time

import zmq

role, pull_uri, pub_uri = sys.argv[1:4]
context = zmq.Context()


def loop():
    pull, pub = context.socket(zmq.PULL), context.socket(zmq.PUB)
    pub.set_hwm(100_000)
    pull.bind(pull_uri)
    pub.bind(pub_uri)
    print("ready", flush=True)
    if role == "proxy":
        zmq.proxy(pull, pub)
    while True:
        event = json.loads(pull.recv())
        event.setdefault("timestamp", time.time())
        pub.send_string(json.dumps(event))


def push(count):
    socket = context.socket(zmq.PUSH)
    socket.connect(pull_uri)
    event = json.dumps({"namespace": "local", "event_type": "zmq.test", "payload": {"text": "x" * 100}}).encode()
    for _ in range(count):
        socket.send(event)
    return socket


def ends(count):
    sub = context.socket(zmq.SUB)
    sub.set_hwm(0)
    sub.connect(pub_uri)
    sub.subscribe(b"")
    while not sub.poll(100):
        push(1)
    while sub.poll(500):
        sub.recv()
    started = time.time()
    threading.Thread(target=push, args=[count], daemon=True).start()
    received = 0
    while received < count and sub.poll(3000):
        sub.recv()
        received += 1
        last = time.time()
    print(received, last - started, flush=True)


ends(int(sys.argv[4])) if role == "ends" else loop()
