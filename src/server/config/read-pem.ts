import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { shownPath } from "../../keys/secret.ts";
import type { PortTls } from "../../transport/port/tls.ts";
import { ConfigError } from "../startup-error.ts";

/** The certificate that the port shows, with its key, and how to read both again. */
export interface CertificateFiles {
  readonly pair: PortTls;
  /** Rejects, with what to do, where the files hold no pair. */
  readonly reread: () => Promise<PortTls>;
}

/** A setting that names a file. */
interface NamedFile {
  readonly variable: string;
  /** Undefined: the setting is not set. */
  readonly path: string | undefined;
}

/**
 * Reads a certificate and its private key, in PEM; undefined if neither is set.
 *
 * @throws ConfigError that names the wrong setting: one without the other, what cannot be read, or a pair that does not
 * belong together
 */
export async function readKeyPair(
  cert: NamedFile,
  key: NamedFile,
): Promise<{ readonly cert: string; readonly key: string } | undefined> {
  if (cert.path === undefined && key.path === undefined) return undefined;
  if (cert.path === undefined || key.path === undefined) {
    const [set, missing] = cert.path === undefined ? [key, cert] : [cert, key];
    throw new ConfigError(set.variable, `is set without ${missing.variable}. Set both, or none`);
  }
  const pair = {
    cert: await readCertificate({ ...cert, path: cert.path }),
    key: await readPem({ ...key, path: key.path }, "private key without a passphrase", createPrivateKey),
  };
  if (!new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key))) {
    throw new ConfigError(key.variable, `is not the key of the certificate in ${cert.variable}. Correct one`);
  }
  return pair;
}

/** The same, with a way to read both files again. */
export async function readCertificateFiles(cert: NamedFile, key: NamedFile): Promise<CertificateFiles | undefined> {
  const read = () => readKeyPair(cert, key);
  const pair = await read();
  return pair && { pair, reread: async () => (await read()) ?? pair };
}

/** Reads a certificate in PEM, or several. */
export function readCertificate(file: { readonly variable: string; readonly path: string }): Promise<string> {
  return readPem(file, "certificate", (pem) => new X509Certificate(pem));
}

async function readPem(
  { variable, path }: { readonly variable: string; readonly path: string },
  kind: string,
  check: (pem: string) => unknown,
): Promise<string> {
  const pem = await readFile(path, "utf8").catch((error: unknown) => {
    const reason = error instanceof Error && "code" in error ? String(error.code) : "an error";
    throw new ConfigError(variable, `names ${shownPath(path)}, which cannot be read (${reason}). Correct the path`);
  });
  try {
    check(pem);
  } catch {
    throw new ConfigError(variable, `names ${shownPath(path)}, which is not a ${kind} in PEM. Give such a file`);
  }
  return pem;
}
