/** The store with a driver of another family: Debian's `python3-pymongo`, where it is installed. @module */
import assert from "node:assert/strict";
import { startStore } from "../mod.ts";

const PYTHON = "/usr/bin/python3";
const SCRIPT = `
import sys, datetime, pymongo
from bson import Decimal128, Int64, ObjectId
client = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=5000)
c = client.py.c
doc = {"_id": ObjectId(), "i": 1, "f": 1.0, "l": Int64(5), "d": Decimal128("1.50"), "a": [1, {"b": None}],
       "t": datetime.datetime(2020, 1, 2, 3, 4, 5)}
c.insert_one(doc)
back = c.find_one()
assert back == doc and type(back["f"]) is float and type(back["l"]) is Int64, back
c.update_one({"_id": doc["_id"]}, {"$inc": {"i": 1, "f": 1, "l": 1, "d": 1}})
back = c.find_one()
assert type(back["f"]) is float and back["f"] == 2.0 and type(back["l"]) is Int64, back
assert back["d"] == Decimal128("2.50") and type(back["i"]) is int, back
try:
    c.insert_many([{"_id": 1}, {"_id": 1}, {"_id": 2}], ordered=False)
    assert False
except pymongo.errors.BulkWriteError as error:
    assert error.details["nInserted"] == 2, error.details
    assert [(e["index"], e["code"]) for e in error.details["writeErrors"]] == [(1, 11000)], error.details
c.create_index([("k", 1)], unique=True, sparse=True)
c.insert_many([{"k": i} for i in range(1000)])
assert [d["k"] for d in c.find({"k": {"$gte": 0}}).sort("k", 1).batch_size(7)] == list(range(1000))
assert c.find_one_and_update({"k": 5}, {"$set": {"x": 1}}, return_document=True)["x"] == 1
assert list(c.aggregate([{"$match": {"k": {"$lt": 10}}}, {"$group": {"_id": None, "n": {"$sum": "$k"}}}]))[0]["n"] == 45
assert c.count_documents({}) == 1003
assert c.delete_many({"k": {"$gt": 500}}).deleted_count == 499
assert sorted(c.index_information()) == ["_id_", "k_1"]
with client.start_session() as session:
    assert c.find_one({"k": 1}, session=session)["k"] == 1
client.drop_database("py")
print("done", pymongo.version)
`;

async function hasPymongo(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(PYTHON, { args: ["-c", "import pymongo"] }).output();
    return success;
  } catch {
    return false;
  }
}

const present = await hasPymongo();
if (!present) console.error(`No pymongo at ${PYTHON}: its test is left out`);

Deno.test({
  name: "pymongo works unchanged, number types kept",
  ignore: !present && !Deno.env.get("CI"), // in CI a missing one is a failure
  fn: async () => {
    await using store = await startStore({ port: 0 });
    const { success, stdout, stderr } = await new Deno.Command(PYTHON, {
      args: ["-c", SCRIPT, store.url],
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    assert.match(new TextDecoder().decode(stdout), /^done /);
  },
});
