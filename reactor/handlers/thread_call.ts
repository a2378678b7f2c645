/**
 * Has a thread call its function for each event of a batch.
 * @module
 */
import { type BatchReport, type Execution, type Outcome, OUTPUT_LIMIT } from "./execution.ts";
import { type Answer, type Call, CLOSED } from "./thread_messages.ts";

/** Milliseconds after which a function is a slow one: the events behind it are left to other threads. */
const SLOW = 50;

/** Milliseconds within which a thread that was idle begins. One that does not is dead, or at work on what an earlier call has left behind. */
const WAKING = 1000;

/** What to call. */
export interface ThreadCall {
  /** The function's name. */
  name: string;
  /** All of the same entry. */
  batch: Execution[];
  /** Milliseconds that each call may take. */
  timeLimit: number;
  /** Whether the thread has been used before: then it may be dead, and nothing counts as begun until it says so. */
  used: boolean;
}

/**
 * Has a thread call its function for each execution, one after the other.
 *
 * @returns how many executions have an outcome, and whether the thread is as good as new
 */
export async function callInThread(
  thread: Worker,
  { name, batch, timeLimit, used }: ThreadCall,
  report: BatchReport,
): Promise<{ done: number; reusable: boolean }> {
  const { handler } = batch[0]!.entry;
  const progress = createProgress(batch.length, used, report);
  /** Since when the thread owes an answer. */
  let since = performance.now();

  function look() {
    const waited = performance.now() - since;
    const slow = progress.hasBegun ? SLOW : WAKING;
    if (waited >= slow) progress.close();
    if (waited >= timeLimit) progress.fail(`${handler} took longer than ${timeLimit / 1000} s`);
    timer = setTimeout(look, Math.max(1, (waited >= slow ? timeLimit : slow) - waited));
  }
  let timer = setTimeout(look, SLOW);
  thread.onmessage = ({ data: answer }: { data: Answer }) => {
    since = performance.now();
    if ("status" in answer) progress.answer(answer);
    else progress.fail(`Cannot use the handler '${handler}': its file ${answer.bad}`, true);
  };
  thread.onerror = (event) => {
    event.preventDefault(); // it would end the whole process
    progress.fail(`${handler} crashed: ${event.message}`);
  };
  report.signal.addEventListener("abort", progress.abandon);
  const events = batch.map(({ event }) => event);
  const { begun } = progress;
  thread.postMessage({ name, events, begun, limit: OUTPUT_LIMIT } satisfies Call);
  await progress.over;
  clearTimeout(timer);
  report.signal.removeEventListener("abort", progress.abandon);
  return { done: progress.answered, reusable: progress.clean };
}

/** How far a batch has come. */
interface Progress {
  /** See {@linkcode Call.begun}. */
  readonly begun: Int32Array;
  /** Whether the first execution has begun. */
  readonly hasBegun: boolean;
  /** How many executions have an outcome. */
  readonly answered: number;
  /** Whether nothing has gone wrong: a function that has failed may have left anything behind. */
  readonly clean: boolean;
  /** Resolves when every execution that has begun has an outcome, or was abandoned. */
  readonly over: Promise<void>;
  /** Takes the outcome of the next execution. */
  answer(outcome: Outcome): void;
  /** Fails the execution that is at work; none when the thread has not begun. */
  fail(error: string, permanent?: boolean): void;
  /** Leaves the executions that have not begun. */
  close(): void;
  /** Leaves every execution that has no outcome. */
  abandon(): void;
}

function createProgress(size: number, used: boolean, { ended, left }: BatchReport): Progress {
  // The thread counts here what it begins, and begins nothing more once CLOSED is set. The first event of a new thread counts as begun at once:
  // loading the module may take long, and if that crashes the thread, so it would in every other one.
  const begun = new Int32Array(new SharedArrayBuffer(4));
  begun[0] = used ? 0 : 1;
  const over = Promise.withResolvers<void>();
  /** Where the executions that are not for this thread start. */
  let end = size;
  let closed = false;
  let answered = 0;
  let clean = true;
  let failure: Outcome | undefined;

  function close() {
    if (closed) return;
    closed = true;
    end = Atomics.or(begun, 0, CLOSED);
    if (end === 0) clean = false;
    if (end < size) left(end);
    settle();
  }
  function settle() {
    // The failure is that of the last one: the answers to those before it are on their way.
    if (failure && answered === end - 1) ended(answered++, failure);
    if (answered === end) over.resolve();
  }
  return {
    begun,
    get hasBegun() {
      return Atomics.load(begun, 0) > 0;
    },
    over: over.promise,
    get answered() {
      return answered;
    },
    get clean() {
      return clean;
    },
    close,
    answer(outcome) {
      ended(answered++, outcome);
      if (outcome.status === "failed") {
        clean = false;
        close();
      }
      settle();
    },
    fail(error, permanent = false) {
      clean = false;
      close();
      failure ??= { status: "failed", error, permanent };
      settle();
    },
    abandon() {
      clean = false;
      close();
      over.resolve();
    },
  };
}
