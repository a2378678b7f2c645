"""The pipeline's four roles in the usual tutorial way: a connection per publish, automatic acknowledgement, one message at a time."""

import json
import sqlite3
import sys
import time
import uuid

import pika

role, url, *rest = sys.argv[1:]
EXCHANGE = "event-sink.bench.ebs"


def publish(key, type, data):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    event = {
        "specversion": "1.0",
        "type": type,
        "id": str(uuid.uuid4()),
        "source": "/" + role,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": data,
    }
    connection.channel().basic_publish(
        EXCHANGE, key, json.dumps(event), pika.BasicProperties(delivery_mode=2)
    )
    connection.close()


def consume(queue, key, handle):
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, EXCHANGE, key)

    def on_message(channel, method, properties, body):
        handle(json.loads(body))

    channel.basic_consume(queue, on_message, auto_ack=True)
    print("ready", flush=True)
    channel.start_consuming()


def distribute(event):
    for number in (1, 2, 3):
        publish("task-requests", "TASK_CREATED", {"id": f"{event['data']['id']}.{number}", "object": event["data"]})


def process(event):
    data = {"task": event["data"], "processor": "pika", "attempt": 1, "spent": 0}
    publish("processing", "TASK_STARTED", data)
    publish("processing", "TASK_FINISHED", data)


if role == "datagen":
    for number in range(int(rest[0])):
        publish("objects", "OBJECT_CREATED", {"id": str(number), "name": "object", "content": {"number": number}})
elif role == "distributor":
    consume(EXCHANGE + ".distributor", "objects", distribute)
elif role == "processor":
    consume(EXCHANGE + ".processor", "task-requests", process)
elif role == "statistics":
    database = sqlite3.connect(rest[0])
    database.execute("CREATE TABLE statistics (type TEXT PRIMARY KEY, count INTEGER)")
    finished = 0

    def count(event):
        global finished
        database.execute(
            "INSERT INTO statistics VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (event["type"],)
        )
        database.commit()
        finished += event["type"] == "TASK_FINISHED"
        if finished == int(rest[1]):
            print("done", flush=True)

    consume(EXCHANGE + ".statistics", "#", count)
