"""Store COUNT messages of a queue one by one, acknowledging each, with prefetch 1."""

import sys
import time

import pika
import pymongo

amqp_url, mongo_url, queue, count = sys.argv[1:]
collection = pymongo.MongoClient(mongo_url)["event-sink-bench"]["pika"]
connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
channel = connection.channel()
channel.basic_qos(prefetch_count=1)
left = int(count)


def store(channel, method, properties, body):
    global left
    collection.insert_one({"created": int(time.time() * 1000), "message": body.decode()})
    channel.basic_ack(method.delivery_tag)
    left -= 1
    if left == 0:
        channel.stop_consuming()


channel.basic_consume(queue, store)
channel.start_consuming()
connection.close()
