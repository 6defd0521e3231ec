import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf } from "./run-program.ts";

/** A certificate authority of the test's own, and a certificate of it that is good for servers and for clients. */
export interface TestCertificates {
  /** Paths of files in PEM. The certificate is for 127.0.0.1 and localhost. */
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** The authority in PEM. */
  readonly ca: string;
  remove(): void;
}

/** Only inside `describeWithOpenssl`. */
export async function makeCertificates(): Promise<TestCertificates> {
  const folder = mkdtempSync(join(tmpdir(), "claviger-certificates-"));
  const file = (name: string) => join(folder, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await outputOf("openssl", [
    ...["req", "-x509", ...key, "-days", "2", "-subj", "/CN=a private CA"],
    ...["-keyout", file("ca.key"), "-out", file("ca.crt")],
  ]);
  await outputOf("openssl", [
    ...["req", ...key, "-subj", "/CN=redis", "-keyout", file("redis.key"), "-out", file("redis.csr")],
  ]);
  writeFileSync(file("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  await outputOf("openssl", [
    ...["x509", "-req", "-in", file("redis.csr"), "-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial"],
    ...["-days", "2", "-extfile", file("names"), "-out", file("redis.crt")],
  ]);
  return {
    ...{ caFile: file("ca.crt"), certFile: file("redis.crt"), keyFile: file("redis.key") },
    ca: readFileSync(file("ca.crt"), "utf8"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
