/**
 * TLS: certificates in files, and what its failures mean.
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { connect } from "node:tls";
import { UsageError } from "./flags.ts";

/** Files in PEM. */
export interface TlsFiles {
  /** Certificates of the authorities to trust instead of the usual ones. */
  ca?: string | null;
  /** This client's certificate, with those of its issuers. */
  cert?: string | null;
  /** Its key. */
  key?: string | null;
  /** The key's password, when it is encrypted. */
  passphrase?: string | null;
}

/**
 * Reads certificates. What cannot be used is an error here: Deno would connect without it.
 *
 * @throws {UsageError} naming the file
 */
export async function readTlsFiles(
  { ca, cert, key, passphrase }: TlsFiles,
): Promise<{ ca?: string; cert?: string; key?: string }> {
  if (!cert !== !key) {
    throw new UsageError(
      `Cannot use '${cert || key}': a certificate and its key are named together`,
    );
  }
  const trusted = ca ? { ca: await readPem(ca, "CERTIFICATE") } : {};
  if (!cert || !key) return trusted;
  const own = await readPem(cert, "CERTIFICATE");
  const pem = await readPem(key, "PRIVATE KEY");
  const secret = use(key, () => createPrivateKey({ key: pem, passphrase: passphrase ?? "" }));
  if (!new X509Certificate(own).checkPrivateKey(secret)) {
    throw new UsageError(`Cannot use '${key}': it is not the key of the certificate in '${cert}'`);
  }
  return { ...trusted, cert: own, key: `${secret.export({ type: "pkcs8", format: "pem" })}` };
}

/** Reads a file's blocks of one kind. */
async function readPem(path: string, kind: "CERTIFICATE" | "PRIVATE KEY"): Promise<string> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? "there is no such file"
      : error instanceof Deno.errors.NotCapable
      ? `this task may not read files: run its script with --allow-read=${path}, ` +
        "or name an authority in DENO_CERT instead, which needs no permission"
      : (error as Error).message;
    throw new UsageError(`Cannot read '${path}': ${why}`);
  }
  const blocks = text.match(new RegExp(`-----BEGIN [A-Z ]*${kind}-----[^]*?-----END.*`, "g"));
  if (!blocks) throw new UsageError(`Cannot use '${path}': there is no PEM ${kind} in it`);
  if (kind === "CERTIFICATE") {
    blocks.forEach((block) => use(path, () => new X509Certificate(block)));
  }
  return blocks.join("\n");
}

function use<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(
      `Cannot use '${path}': damaged, or encrypted (${(error as Error).message})`,
    );
  }
}

/**
 * What a TLS failure is, and what to do; undefined for any other error.
 *
 * @param caParameter the parameter of the server's URL that names an authority's certificate
 */
export function tlsFailure(
  { code = "", message }: Error & { code?: string | number },
  caParameter: string,
): string | undefined {
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER") return "no TLS is spoken at this port";
  if (/SELF_SIGNED|UNABLE_TO/.test(`${code}`)) {
    return `its certificate's authority is not trusted here: name it, by ${caParameter}=/path/to/ca.pem in the URL or DENO_CERT (${message})`;
  }
  if (/ALERT/.test(`${code}`)) return `it refuses our certificate, or wants one (${message})`;
  return /^ERR_(SSL|TLS)|CERT/.test(`${code}`) ? message : undefined;
}

/** Whether a server takes TLS: one that ended a connection without may want it. Takes 3 s at most. */
export function takesTls(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, rejectUnauthorized: false, timeout: 3000 });
    const answer = (taken: boolean) => {
      resolve(taken);
      socket.destroy();
    };
    socket.on("secureConnect", () => answer(true));
    for (const event of ["error", "timeout", "close"]) socket.on(event, () => answer(false));
  });
}
