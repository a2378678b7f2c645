/**
 * `pyfunc` handlers: a function in a Python file, called in a process of its own.
 * @module
 */
import { type Execution, type Outcome, OUTPUT_LIMIT } from "./execution.ts";
import { handlerFile } from "./handler_file.ts";
import { runProcess } from "./subprocess.ts";

/** The program's exit code when another attempt would fail in the same way. */
const BAD_HANDLER = 64;

/** Loads the file, calls the function and writes what it returns to stdout as JSON. What the handler itself prints goes to stderr. */
const program = `
import importlib.util, json, os, sys
file, name, directory, limit = sys.argv[1:5]
result = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
sys.argv = [file]
sys.path.insert(0, directory)
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location(os.path.basename(file)[:-3], file)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
function = getattr(module, name, None)
if not callable(function):
    sys.stderr.write("exports no function '%s'" % name)
    sys.stderr.flush()
    os._exit(${BAD_HANDLER})
value = function(json.loads(sys.stdin.buffer.read().decode("utf-8")))
text = json.dumps(value, default=str, ensure_ascii=False, allow_nan=False)
if len(text) > int(limit):
    text = json.dumps(text[:int(limit)] + "\\n[cut: %d characters in all]" % len(text))
sys.stdout.flush()
result.write(text)
result.flush()
`;

/**
 * Calls the function and waits for its end.
 *
 * @param context `directory` is where the file is and where it runs; `signal` kills it
 * @throws {BadHandler} when there is no such file
 * @throws the signal's reason when that aborts
 */
export async function runPython(
  { entry, event, trace }: Execution,
  { directory, signal }: { directory: string; signal: AbortSignal },
): Promise<Outcome> {
  const { file, name } = await handlerFile(directory, entry.handler, [".py"]);
  const cwd = await Deno.realPath(directory);
  const { code, stdout, stderr } = await runProcess(
    ["python3", "-c", program, file, name, cwd, String(OUTPUT_LIMIT)],
    // The program has cut the text to so many characters, which as bytes of UTF-8, escaped, may be more.
    { cwd, env: entry.env, trace, input: event, signal, limit: 8 * OUTPUT_LIMIT },
  );
  const log = stderr.slice(0, OUTPUT_LIMIT);
  if (code === 0) {
    try {
      return { status: "done", code, data: JSON.parse(stdout), log };
    } catch {
      return { status: "failed", code, log, error: `${entry.handler} ended before it returned` };
    }
  }
  const lastLine = stderr.trimEnd().split("\n").at(-1);
  const error = code === BAD_HANDLER
    ? `Cannot use the handler '${entry.handler}': ${file} ${lastLine}`
    : `${entry.handler} failed: ${lastLine || `exit code ${code}`}`;
  return { status: "failed", code, log, error, permanent: code === BAD_HANDLER };
}
