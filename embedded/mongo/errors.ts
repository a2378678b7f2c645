/**
 * The server's errors, by name, as drivers branch on them.
 * Numbers: https://github.com/mongodb/mongo/blob/v7.0/src/mongo/base/error_codes.yml
 * @module
 */

/** Error code of each name used by this store. */
export const CODES = {
  InternalError: 1,
  OutOfDiskSpace: 14031,
  BadValue: 2,
  Unauthorized: 13,
  FailedToParse: 9,
  TypeMismatch: 14,
  Overflow: 15,
  InvalidLength: 16,
  ProtocolError: 17,
  AuthenticationFailed: 18,
  IllegalOperation: 20,
  InvalidBSON: 22,
  NamespaceNotFound: 26,
  IndexNotFound: 27,
  PathNotViable: 28,
  ConflictingUpdateOperators: 40,
  CursorNotFound: 43,
  NamespaceExists: 48,
  MaxTimeMSExpired: 50,
  DollarPrefixedFieldName: 52,
  InvalidIdField: 53,
  EmptyFieldName: 56,
  CommandNotFound: 59,
  NotSingleValueField: 54,
  ImmutableField: 66,
  CannotCreateIndex: 67,
  InvalidOptions: 72,
  OptionNotSupportedOnView: 167,
  Location6049200: 6049200,
  Location51173: 51173,
  Location16764: 16764,
  Location16766: 16766,
  Location31303: 31303,
  Location4886600: 4886600,
  Location51174: 51174,
  ViewDepthLimitExceeded: 165,
  CommandNotSupportedOnView: 166,
  DocumentValidationFailure: 121,
  CappedPositionLost: 136,
  CannotConvertIndexToUnique: 359,
  APIStrictError: 323,
  InvalidNamespace: 73,
  IndexOptionsConflict: 85,
  IndexKeySpecsConflict: 86,
  NoReplicationEnabled: 76,
  NotAReplicaSet: 123,
  CannotIndexParallelArrays: 171,
  InvalidPipelineOperator: 168,
  InvalidIndexSpecificationOption: 197,
  NotImplemented: 238,
  ExceededMemoryLimit: 146,
  APIVersionError: 322,
  MechanismUnavailable: 334,
  UnsupportedOpQueryCommand: 352,
  QueryExceededMemoryLimitNoDiskUseAllowed: 292,
  DuplicateKey: 11000,
  BSONObjectTooLarge: 10334,
  Location15947: 15947,
  Location15974: 15974,
  Location15975: 15975,
  Location40352: 40352,
  Location28724: 28724,
  Location15958: 15958,
  Location15959: 15959,
  Location15955: 15955,
  Location15969: 15969,
  Location15973: 15973,
  Location15976: 15976,
  Location16610: 16610,
  Location16611: 16611,
  Location31002: 31002,
  Location31325: 31325,
  Location40066: 40066,
  Location40192: 40192,
  Location40194: 40194,
  Location40081: 40081,
  Location40234: 40234,
  Location40238: 40238,
  Location51270: 51270,
  Location51272: 51272,
  Location5107201: 5107201,
  Location5107200: 5107200,
  Location40601: 40601,
  ConversionFailure: 241,
  Location40323: 40323,
  Location40324: 40324,
  IDLFailedToParse: 40414,
  IDLUnknownField: 40415,
  Location40573: 40573,
  Location17217: 17217,
  Location17419: 17419,
  Location31249: 31249,
  Location31253: 31253,
  Location31254: 31254,
  Location51024: 51024,
  Location51091: 51091,
  Location51198: 51198,
  Location51183: 51183,
  MergeStageNoMatchingDocument: 13113,
  Location31022: 31022,
  Location31023: 31023,
  Location31024: 31024,
  Location51103: 51103,
  Location51104: 51104,
  Location51105: 51105,
  Location51106: 51106,
  Location51107: 51107,
  Location51111: 51111,
  Location51151: 51151,
  Location51156: 51156,
  Location51108: 51108,
  Location17276: 17276,
  Location51246: 51246,
} as const;

/** Name of an error code. */
export type CodeName = keyof typeof CODES;

/** A failure that the client sees as `{ ok: 0, code, codeName, errmsg }` or as a write error. */
export class CommandError extends Error {
  /** The server's number for it. */
  readonly code: number;

  /**
   * @param codeName the server's name of the error
   * @param message text for people, the server's own where it is known
   * @param extra further fields of the answer, such as `keyPattern`
   */
  constructor(
    readonly codeName: CodeName,
    message: string,
    readonly extra: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = "CommandError";
    this.code = CODES[codeName];
  }
}

/**
 * The data could not be read or written. Whatever was written in the same transaction is rolled back, other
 * commands' writes too, and none of it is acknowledged.
 */
export class StorageError extends Error {
  /** The server's name of the error. */
  readonly codeName: CodeName;

  /** @param cause the error of SQLite, or the fault because of which a transaction was given up */
  constructor(cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const full = why.includes("disk is full"); // SQLITE_FULL; not every error of it carries its number
    super(
      full ? "The disk is full: nothing of this write is stored" : `Cannot access the data: ${why}`,
      { cause },
    );
    this.name = "StorageError";
    this.codeName = full ? "OutOfDiskSpace" : "InternalError";
  }
}

/** The fields of an error answer, whatever was thrown. */
export function errorFields(error: unknown): {
  code: number;
  codeName: string;
  errmsg: string;
  extra: Record<string, unknown>;
} {
  if (error instanceof CommandError) {
    const { code, codeName, message, extra } = error;
    return { code, codeName, errmsg: message, extra };
  }
  if (error instanceof StorageError) {
    const { codeName, message } = error;
    return { code: CODES[codeName], codeName, errmsg: message, extra: {} };
  }
  if (error instanceof RangeError && error.message.includes("call stack")) {
    return { code: CODES.Overflow, codeName: "Overflow", errmsg: "Nested too deeply", extra: {} };
  }
  const text = error instanceof Error ? error.message : String(error);
  return { code: CODES.InternalError, codeName: "InternalError", errmsg: text, extra: {} };
}
