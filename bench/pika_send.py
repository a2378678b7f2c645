"""Publish every line of a file with pika, persistent and confirmed, as its documentation shows it."""

import sys

import pika

url, path = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()
channel.queue_declare("pika.bench", durable=True)
properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
with open(path, "rb") as lines:
    for line in lines:
        channel.basic_publish("", "pika.bench", line.rstrip(b"\n"), properties, mandatory=True)
connection.close()
