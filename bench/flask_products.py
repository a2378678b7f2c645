"""The same routes in Flask, SQLite and pika, publishing in the request, as the usual tutorials show it. Served by gunicorn."""

import decimal
import json
import os
import sqlite3
import threading

import pika
from flask import Flask, jsonify, request

app = Flask(__name__)
local = threading.local()


def database():
    if not hasattr(local, "database"):
        local.database = sqlite3.connect(os.environ["DATABASE"], timeout=30)
        local.database.row_factory = sqlite3.Row
        local.database.execute("PRAGMA journal_mode = WAL")
        local.database.execute("PRAGMA synchronous = FULL")
        local.database.execute(
            "CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, price TEXT,"
            " created_at TEXT DEFAULT CURRENT_TIMESTAMP)"
        )
    return local.database


def publish(method, body):
    """A connection for each thread, a confirm for each message."""
    if not hasattr(local, "channel"):
        connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
        local.channel = connection.channel()
        local.channel.queue_declare(os.environ["QUEUE"], durable=True)
        local.channel.confirm_delivery()
    properties = pika.BasicProperties(type=method, content_type="application/json", delivery_mode=2)
    local.channel.basic_publish("", os.environ["QUEUE"], json.dumps(body), properties, mandatory=True)


@app.get("/api/products/<int:id>/")
def read(id):
    row = database().execute("SELECT * FROM products WHERE id = ?", (id,)).fetchone()
    return (jsonify(dict(row)), 200) if row else (jsonify(detail="Not found."), 404)


@app.post("/api/products/")
def create():
    body = request.get_json()
    price = f"{decimal.Decimal(body['price']):.2f}"
    with database() as connection:
        row = connection.execute(
            "INSERT INTO products (title, price) VALUES (?, ?) RETURNING *", (body["title"], price)
        ).fetchone()
    product = dict(row)
    publish("product_created", product)
    return jsonify(product), 201
