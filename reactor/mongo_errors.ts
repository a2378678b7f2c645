/**
 * Which errors of MongoDB pass, and which ones no repetition changes.
 * @module
 */

/** https://www.mongodb.com/docs/manual/reference/error-codes/ */
const finalCodes = new Map([
  [2, "BadValue"],
  [9, "FailedToParse"],
  [13, "Unauthorized"],
  [14, "TypeMismatch"],
  [18, "AuthenticationFailed"],
  [59, "CommandNotFound"],
  [67, "CannotCreateIndex"],
  [72, "InvalidOptions"],
  [73, "InvalidNamespace"],
  [85, "IndexOptionsConflict"],
  [86, "IndexKeySpecsConflict"],
  [10334, "BSONObjectTooLarge"],
]);

/**
 * Whether an operation would fail in the same way again: MongoDB or its driver refuses it. Everything else counts as an outage, a full disk
 * or a change of the primary, too.
 */
export function isFinal(error: unknown): boolean {
  const { name, code } = error as Error & { code?: number };
  if (code !== undefined && finalCodes.has(code)) return true;
  return /^(BSON|MongoInvalidArgument|MongoClientClosed|MongoTopologyClosed|TypeError|RangeError)/
    .test(name);
}
