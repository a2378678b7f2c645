/**
 * TLS: a node of RabbitMQ with a TLS port, started here, and the embedded servers behind TLS. Without `rabbitmq-server` or `openssl` the
 * tests say so and end; in CI they fail.
 */
import assert from "node:assert/strict";
import { startEmbedded } from "@event-sink/embedded";
import { connectBroker } from "./broker.ts";
import type { Log } from "./log.ts";
import { connectMongo } from "./mongo.ts";
import { eventually, layCable, start, startTool } from "./testing.ts";

const server = "/usr/lib/rabbitmq/bin/rabbitmq-server";

async function installed(path: string): Promise<boolean> {
  if (await Deno.stat(path).then(() => true, () => false)) return true;
  if (Deno.env.get("CI")) assert.fail(`there is no ${path} here`);
  console.log(`there is no ${path} here: not tested`);
  return false;
}

/** A directory with certificates of two authorities, `ca` and `other`: NAME.pem and NAME.key. */
async function makeCertificates() {
  const directory = await Deno.makeTempDir({ prefix: "tls-" });
  async function openssl(...args: string[]) {
    await using process = start(args, { command: "openssl", cwd: directory });
    const { code, stderr } = await process.ended();
    assert.equal(code, 0, stderr);
  }
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  for (const ca of ["ca", "other"]) {
    const files = ["-keyout", `${ca}.key`, "-out", `${ca}.pem`];
    await openssl("req", "-x509", ...key, ...files, "-days", "2", "-subj", `/CN=${ca}`);
  }
  async function certify(file: string, name: string, alternatives: string, days = "2") {
    const files = ["-keyout", `${file}.key`, "-out", `${file}.csr`];
    await openssl("req", ...key, ...files, "-subj", `/CN=${name}`);
    await Deno.writeTextFile(`${directory}/ext`, `subjectAltName=${alternatives}`);
    const ca = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days];
    const out = ["-in", `${file}.csr`, "-out", `${file}.pem`, "-extfile", "ext"];
    await openssl("x509", "-req", ...ca, ...out);
  }
  await certify("server", "server", "DNS:localhost,IP:127.0.0.1");
  await certify("elsewhere", "elsewhere", "DNS:elsewhere.example");
  await certify("expired", "server", "DNS:localhost", "-1");
  await certify("guest", "guest", "DNS:client"); // the user that it is a login of
  await certify("nobody", "nobody", "DNS:client");
  const encrypt = [
    "-topk8",
    "-in",
    "guest.key",
    "-out",
    "encrypted.key",
    "-passout",
    "pass:s3cret",
  ];
  await openssl("pkcs8", ...encrypt);
  await Deno.writeTextFile(`${directory}/text.pem`, "not a certificate\n");
  const both = ["guest.pem", "guest.key"].map((file) =>
    Deno.readTextFileSync(`${directory}/${file}`)
  );
  await Deno.writeTextFile(`${directory}/both.pem`, both.join(""));
  return {
    directory,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

/** A port that is free, below those that Linux gives to connections. */
function freePort(): number {
  while (true) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** A node of RabbitMQ with a plain port and one for TLS, which takes certificates as logins. */
async function startNode(directory: string) {
  const [plain, tls] = [freePort(), freePort()];
  await Deno.writeTextFile(`${directory}/plugins`, "[rabbitmq_auth_mechanism_ssl].\n");
  await Deno.writeTextFile(
    `${directory}/rabbitmq.conf`,
    `listeners.tcp.1 = 127.0.0.1:${plain}
listeners.ssl.1 = 127.0.0.1:${tls}
ssl_options.cacertfile = ${directory}/ca.pem
ssl_options.certfile = ${directory}/server.pem
ssl_options.keyfile = ${directory}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
`,
  );
  const env = {
    HOME: directory,
    RABBITMQ_NODENAME: `tls-${Deno.pid}@localhost`,
    RABBITMQ_DIST_PORT: `${freePort()}`,
    RABBITMQ_CONFIG_FILE: `${directory}/rabbitmq.conf`,
    RABBITMQ_MNESIA_BASE: `${directory}/mnesia`,
    RABBITMQ_LOG_BASE: `${directory}/log`,
    RABBITMQ_PID_FILE: `${directory}/pid`,
    RABBITMQ_ENABLED_PLUGINS_FILE: `${directory}/plugins`,
    RUNNING_UNDER_SYSTEMD: "true", // the script becomes Erlang's machine, which a signal ends then
  };
  const node = start([], { command: server, env });
  await node.seen(/Starting broker\.\.\. completed/);
  return { plain, tls, [Symbol.asyncDispose]: () => node[Symbol.asyncDispose]() };
}

/** TLS with this certificate in front of a plain port. */
function startProxy(certificate: string, port: number) {
  const listener = Deno.listenTls({
    ...{ hostname: "127.0.0.1", port: 0 },
    cert: Deno.readTextFileSync(`${certificate}.pem`),
    key: Deno.readTextFileSync(`${certificate}.key`),
  });
  const conns = new Set<Deno.Conn>();
  (async () => {
    for (;;) {
      try {
        const near = await listener.accept();
        const far = await Deno.connect({ hostname: "127.0.0.1", port });
        for (const conn of [near, far]) conns.add(conn);
        far.readable.pipeTo(near.writable).catch(() => {});
        near.readable.pipeTo(far.writable).catch(() => {});
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return; // closed
      }
    }
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    [Symbol.dispose]() {
      listener.close();
      for (const conn of conns) {
        try {
          conn.close();
        } catch {
          // Closed by its peer.
        }
      }
    },
  };
}

const quiet: Log = {
  ...{ info() {}, warn() {}, debug() {}, setLevel() {} },
  written: () => Promise.resolve(),
};

/** Connects and returns what is wrong, if anything. */
async function trouble(connect: Promise<AsyncDisposable>): Promise<string> {
  try {
    await using _ = await connect;
    return "";
  } catch (error) {
    const { message } = error as Error;
    assert.doesNotMatch(message, /s3cret|\n/);
    return message;
  }
}
const broker = (url: string) =>
  trouble(connectBroker({ amqpUrl: url, log: quiet, timeout: 20_000 }));
const mongo = (url: string) =>
  trouble(connectMongo({ url, signal: AbortSignal.timeout(20_000), log: quiet }));

Deno.test("amqps://, on a RabbitMQ of its own", async (t) => {
  if (!await installed(server) || !await installed("/usr/bin/openssl")) return;
  await using certificates = await makeCertificates();
  const { directory } = certificates;
  await using node = await startNode(directory);
  using elsewhere = startProxy(`${directory}/elsewhere`, node.plain);
  using expired = startProxy(`${directory}/expired`, node.plain);
  const url = `amqps://guest:guest@localhost:${node.tls}`;
  const ca = `cacertfile=${directory}/ca.pem`;
  const guest = `certfile=${directory}/guest.pem&keyfile=${directory}/guest.key`;
  const login = `amqps://localhost:${node.tls}?${ca}`;

  await t.step("works with a private authority, and of several nodes with any", async () => {
    assert.equal(await broker(`${url}?${ca}`), "");
    assert.equal(await broker(`amqps://guest:guest@localhost:${node.tls},localhost:1?${ca}`), "");
  });
  await t.step("takes a client's certificate as a login, by itself or when told to", async () => {
    assert.equal(await broker(`${login}&${guest}`), "");
    const encrypted = `certfile=${directory}/guest.pem&keyfile=${directory}/encrypted.key`;
    assert.equal(await broker(`${login}&${encrypted}&password=s3cret`), "");
    const told = `amqps://no:s3cret@localhost:${node.tls}?${ca}&${guest}&auth_mechanism=external`;
    assert.equal(await broker(told), "");
    // With a user the certificate is for TLS alone.
    assert.match(await broker(told.replace(/&auth.*/, "")), /refuses this user and password/);
    const nobody = `certfile=${directory}/nobody.pem&keyfile=${directory}/nobody.key`;
    assert.match(await broker(`${login}&${nobody}`), /refuses the client's certificate as a login/);
    assert.match(await broker(`${login}&auth_mechanism=external`), /as a login/);
    await using other = await startEmbedded();
    using embedded = startProxy(`${directory}/server`, Number(new URL(other.amqpUrl).port));
    const plain = `amqps://localhost:${embedded.port}?${ca}&${guest}`;
    assert.match(await broker(plain), /takes no certificate as a login: give a user/);
    assert.equal(await broker(plain.replace("://", "://guest:guest@")), "");
  });
  await t.step("says what is wrong with the server's certificate", async () => {
    const unknown =
      /localhost:\d+: its certificate's authority is not trusted here: .* cacertfile=/;
    assert.match(await broker(url), unknown);
    assert.match(await broker(`${url}?cacertfile=${directory}/other.pem`), unknown);
    const wrong = `amqps://guest:guest@localhost:${elsewhere.port}?${ca}`;
    assert.match(await broker(wrong), /localhost.* is not in the cert's altnames: DNS:elsewhere/);
    assert.equal(await broker(`${wrong}&server_name_indication=elsewhere.example`), "");
    assert.equal(await broker(`${wrong}&verify=verify_none`), "");
    const old = `amqps://guest:guest@localhost:${expired.port}?${ca}`;
    assert.match(await broker(old), /localhost:\d+: certificate has expired/);
  });
  await t.step("says what is wrong with the port", async () => {
    const plain = `amqps://guest:guest@localhost:${node.plain}?${ca}`;
    assert.match(await broker(plain), /no TLS is spoken at this port/);
    assert.match(await broker(`amqp://guest:guest@localhost:${node.tls}`), /it wants amqps:\/\/$/);
  });
  await t.step("says what is wrong with a file, before it connects", async () => {
    const text = `${directory}/text.pem`;
    for (
      const [parameters, expected] of [
        ["cacertfile=/no/ca.pem", /^Cannot read '\/no\/ca.pem': there is no such file$/],
        [`cacertfile=${text}`, /text\.pem': there is no PEM CERTIFICATE in it$/],
        [`certfile=${text}&keyfile=${text}`, /text\.pem': there is no PEM CERTIFICATE in it$/],
        [guest.replace(/keyfile=.*/, `keyfile=${text}`), /there is no PEM PRIVATE KEY in it$/],
        [guest.replace(/&.*/, ""), /guest\.pem': a certificate and its key are named together$/],
        [guest.replace("guest.key", "ca.key"), /it is not the key of the certificate/],
        [guest.replace("guest.key", "encrypted.key"), /encrypted\.key': damaged, or encrypted/],
      ] as const
    ) {
      assert.match(await broker(`amqps://localhost:1?${parameters}`), expected);
    }
  });
  await t.step(
    "reads certificates again for each connection, so that they can be renewed",
    async () => {
      const lines: string[] = [];
      const log = { ...quiet, warn: (line: string) => void lines.push(line) };
      await using cable = layCable(`${url}?cacertfile=${directory}/renewed.pem`);
      await Deno.copyFile(`${directory}/ca.pem`, `${directory}/renewed.pem`);
      await using broker = await connectBroker({ amqpUrl: cable.url, log });
      await broker.createChannel();
      await Deno.remove(`${directory}/renewed.pem`);
      const other = broker.createConfirmChannel(); // by a connection of its own, which waits, too
      other.catch(() => {});
      cable.cut();
      await eventually(() =>
        assert.match(lines.at(-1) ?? "", /Cannot read '.*renewed.*Trying again$/)
      );
      await Deno.copyFile(`${directory}/ca.pem`, `${directory}/renewed.pem`);
      await broker.createChannel();
      await other;
    },
  );
  await t.step("a task that may not read says what to do, and takes DENO_CERT", async () => {
    const list = (AMQP_URL: string, env: Record<string, string> = {}) =>
      startTool("consumers/dead-letters", "dead-letters", ["list"], { AMQP_URL, ...env });
    await using refused = list(`${url}?${ca}`);
    const { code, stderr } = await refused.ended();
    assert.equal(code, 2);
    assert.match(stderr, /^Cannot read .*ca\.pem': .*--allow-read=.*DENO_CERT.*\n$/);
    await using trusting = list(url, { DENO_CERT: `${directory}/ca.pem` });
    assert.equal((await trusting.ended()).code, 0);
  });
});

Deno.test("mongodb:// with tls=true", async (t) => {
  if (!await installed("/usr/bin/openssl")) return;
  await using certificates = await makeCertificates();
  const { directory } = certificates;
  await using store = await startEmbedded();
  const port = Number(new URL(store.mongoUrl).port);
  using server = startProxy(`${directory}/server`, port);
  using elsewhere = startProxy(`${directory}/elsewhere`, port);
  using expired = startProxy(`${directory}/expired`, port);
  const at = (port: number, more = `&tlsCAFile=${directory}/ca.pem`) =>
    `mongodb://localhost:${port}/?tls=true${more}`;

  await t.step("works with a private authority, and with a client's certificate", async () => {
    assert.equal(await mongo(at(server.port)), "");
    const own = `&tlsCAFile=${directory}/ca.pem&tlsCertificateKeyFile=${directory}/both.pem`;
    assert.equal(await mongo(at(server.port, own)), "");
  });
  await t.step("ends with what is wrong", async () => {
    const ca = `&tlsCAFile=${directory}/`;
    const wrong: [url: string, expected: RegExp][] = [
      [at(server.port, ""), /authority is not trusted here: .* tlsCAFile=/],
      [at(elsewhere.port), /localhost.* is not in the cert's altnames/],
      [at(expired.port), /localhost:\d+: certificate has expired$/],
      [at(port), /no TLS is spoken at this port/],
      [`mongodb://localhost:${server.port}`, /it wants tls=true/],
      [at(1, "&tlsCAFile=/no/ca.pem"), /'\/no\/ca\.pem': there is no such file$/],
      [at(1, `${ca}text.pem`), /text\.pem': there is no PEM CERTIFICATE in it$/],
      [
        at(1, `${ca}ca.pem&tlsCertificateKeyFile=${directory}/guest.pem`),
        /guest\.pem': there is no PEM PRIVATE KEY in it$/,
      ],
    ];
    await Promise.all(
      wrong.map(async ([url, expected]) => assert.match(await mongo(url), expected)),
    );
  });
});
