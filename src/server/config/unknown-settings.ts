import { SETTINGS } from "./settings.ts";

const PREFIX = "CLAVIGER_";
/** Other readers of variables with that prefix: the command line, and this repository's tests. */
const OTHERS = ["CLAVIGER_URL", "CLAVIGER_TOKEN", "CLAVIGER_TOKEN_FILE", "CLAVIGER_WORKER_NUMBER"];
const OF_TESTS = /^CLAVIGER_TEST_/;
/** Variables that Kubernetes sets in each container where a service is called `claviger`, or `claviger-` and more. */
const OF_KUBERNETES = /^CLAVIGER_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
const KUBERNETES_PORT = /^CLAVIGER_(\w+_)?PORT$/;
/** Letters by which two names may differ to be taken for one. */
const MOST_DIFFERENT = 3;

const KNOWN: readonly string[] = [
  ...SETTINGS.flatMap(({ variable, secret }) => (secret ? [variable, `${variable}_FILE`] : [variable])),
  ...OTHERS,
];

/**
 * A warning for each variable that begins with `CLAVIGER_` and is not known: a misspelt setting is not obeyed. Values
 * are not shown. It does not stop the start: a newer version may know the variable.
 */
export function warnOfUnknownSettings(environment: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(environment)
    .filter(([name, value]) => name.startsWith(PREFIX) && value !== undefined && !isKnown(name, value))
    .map(([name]) => `${name} is not a setting, and is ignored. ${adviceOn(name)}`);
}

function isKnown(name: string, value: string): boolean {
  const isPort = KUBERNETES_PORT.test(name) && /^(tcp|udp|sctp):\/\//.test(value);
  return KNOWN.includes(name) || isPort || OF_KUBERNETES.test(name) || OF_TESTS.test(name);
}

function adviceOn(name: string): string {
  const similar = similarTo(name);
  return similar === undefined ? "Correct its name, or unset it" : `Did you mean ${similar}?`;
}

/** The known name that is nearest; also where the prefix was added to one that has none, or an end left out. */
function similarTo(name: string): string | undefined {
  const own = name.slice(PREFIX.length).toUpperCase();
  if (own.length < 3) return undefined;
  const [nearest] = KNOWN.map((known) => ({ known, differs: difference(own, known.replace(PREFIX, "")) }))
    .filter(({ differs }) => differs <= MOST_DIFFERENT && 2 * differs < own.length)
    .sort((a, b) => a.differs - b.differs);
  return nearest?.known ?? KNOWN.find((known) => known.startsWith(name) || name.startsWith(`${known}_`));
}

/** Letters to insert, leave out or replace (Levenshtein). */
function difference(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j++) {
      const replaced = (row[j] ?? 0) + (letter === other[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
