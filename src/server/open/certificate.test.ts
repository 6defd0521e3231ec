import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import { pino } from "pino";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { makeCertificates, type TestCertificates } from "../../../testkit/certificates.ts";
import { describeWithOpenssl } from "../../../testkit/describe-with.ts";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import { createPort } from "../../transport/port/port.ts";
import type { PortTls } from "../../transport/port/tls.ts";
import { Certificate } from "./certificate.ts";

describeWithOpenssl("the certificate of the port", () => {
  let made: readonly TestCertificates[];
  let [first, second]: PortTls[] = [];

  beforeAll(async () => {
    made = await Promise.all([makeCertificates(), makeCertificates()]);
    [first, second] = made.map(({ certFile, keyFile }) => ({
      cert: readFileSync(certFile, "utf8"),
      key: readFileSync(keyFile, "utf8"),
    }));
  });
  afterAll(() => {
    for (const each of made ?? []) each.remove();
  });

  /** `files`: what each read finds, the last again and again. */
  async function serve(...files: (() => PortTls)[]) {
    const lines: string[] = [];
    const log = pino({}, { write: (line) => void lines.push(line) });
    let reads = 0;
    const reread = async () => {
      const read = files[Math.min(reads, files.length - 1)] ?? pairOf(first);
      reads += 1;
      return read();
    };
    const certificate = new Certificate({ pair: pairOf(first)(), reread }, log);
    const limits = { ...TEST_PORT_LIMITS, drainMs: 0 };
    const handler = () => undefined;
    const port = createPort({ host: "127.0.0.1", port: 0, tls: certificate.door, handler, limits });
    const { port: number } = await port.listen();
    onTestFinished(() => port.drain());
    return { certificate, lines, shown: () => shownBy(number) };
  }

  const pairOf = (pair: PortTls | undefined) => () => {
    if (pair === undefined) throw new Error("no certificate was made");
    return pair;
  };
  const fingerprint = (pair: PortTls | undefined) => pair?.cert.replaceAll(/-----[A-Z ]+-----|\s/g, "");

  it("is replaced, with its key, once two reads agree", async () => {
    const { certificate, shown } = await serve(pairOf(second));
    expect(await shown()).toBe(fingerprint(first));
    await certificate.look();
    expect(await shown()).toBe(fingerprint(second));
    expect(certificate.failures).toBe(0);
  });

  it("stays while its files change from one read to the next", async () => {
    const { certificate, shown } = await serve(pairOf(second), pairOf(first), pairOf(first));
    await certificate.look();
    expect(await shown()).toBe(fingerprint(first));
  });

  it("stays while its files hold no pair, which is said once, and is replaced when they do", async () => {
    const bad = () => {
      throw new Error("CLAVIGER_TLS_KEY is not the key of the certificate. Correct one");
    };
    const { certificate, lines, shown } = await serve(bad, bad, pairOf(second));
    await certificate.look();
    await certificate.look();
    expect(await shown()).toBe(fingerprint(first));
    expect(certificate.failures).toBe(2);
    expect(lines.filter((line) => line.includes("Correct one"))).toHaveLength(1);
    await certificate.look();
    expect(await shown()).toBe(fingerprint(second));
  });

  it("fails no connection while it is replaced again and again", async () => {
    const turns = 20;
    // Each look reads twice.
    const files = Array.from({ length: 2 * turns }, (_, read) => pairOf(read % 4 < 2 ? second : first));
    const { certificate, lines, shown } = await serve(...files);
    const looks = (async () => {
      for (let turn = 0; turn < turns; turn++) await certificate.look();
    })();
    const seen = new Set<string | undefined>();
    for (let connection = 0; connection < 100; connection++) seen.add(await shown());
    await looks;
    expect(seen).toEqual(new Set([fingerprint(first), fingerprint(second)]));
    expect(certificate.failures).toBe(0);
    expect(lines.filter((line) => line.includes("was replaced"))).toHaveLength(turns);
  });

  it("stays if its key does not fit, even where the read does not see it", async () => {
    const mixed = { cert: pairOf(second)().cert, key: pairOf(first)().key };
    const { certificate, shown } = await serve(() => mixed);
    await certificate.look();
    expect(await shown()).toBe(fingerprint(first));
    expect(certificate.failures).toBe(1);
  });
});

/** The certificate in base64 that a new connection is shown. */
function shownBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ socket: connect({ host: "127.0.0.1", port }), rejectUnauthorized: false }, () => {
      const { raw }: PeerCertificate = socket.getPeerCertificate();
      socket.destroy();
      resolve(raw.toString("base64"));
    });
    socket.on("error", reject);
  });
}
