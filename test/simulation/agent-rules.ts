import type { Rule } from "./rules.ts";

const CHILD = "src/revocation/child-lease.ts";
const CHILDREN = "src/revocation/child-leases.ts";
const FEED = "src/revocation/feed.ts";
const SESSION = "src/rpc/sync/sync-session.ts";
const LINK = "src/sdk/verifier/sync-link.ts";

/** Rules of leases that are nested: between a node and the verifiers inside agents. */
export const AGENT_RULES: readonly Rule[] = [
  {
    id: "N1",
    rule: "a node acknowledges what its streams have acknowledged",
    without: [
      { file: CHILDREN, find: "least = Math.min(least, change.after);", replace: "void change;" },
      { file: CHILDREN, find: "&& withholds(change, revision)", replace: "&& false" },
    ],
  },
  {
    id: "N1, renewals",
    rule: "a renewal acknowledges what streams have acknowledged",
    without: [{ file: CHILDREN, find: "least = Math.min(least, change.after);", replace: "void change;" }],
  },
  {
    id: "N1, pushes",
    rule: "a push is acknowledged once streams have acknowledged it",
    without: [{ file: CHILDREN, find: "&& withholds(change, revision)", replace: "&& false" }],
  },
  {
    id: "N2",
    seed: 127,
    rule: "a lease runs from before it was asked for",
    without: [
      {
        file: LINK,
        find: "lease.grant(request.since, termMs);",
        replace: "lease.grant(readMoment(this.#options.clocks), termMs);",
      },
    ],
  },
  {
    id: "N3",
    rule: "a registration of the node has everything dropped",
    without: [{ file: FEED, find: "for (const child of this.children.all) child.reset();", replace: "" }],
    schedule: "a node whose streams stay open registers anew",
  },
  {
    id: "N4",
    seed: 77,
    rule: "a stream that is gone counts until its lease is over",
    without: [{ file: CHILDREN, find: "if (child.isClosed && !child.isLeased())", replace: "if (child.isClosed)" }],
  },
  {
    id: "N5",
    seed: 112,
    rule: "a stream counts from the turn in which it is accepted",
    without: [
      {
        file: CHILD,
        find: "    options.children.add(this);",
        replace: "    options.clocks.after(60, () => options.children.add(this));",
      },
    ],
  },
  {
    id: "N6",
    rule: "a node that stops keeps its row until the leases that it granted are over",
    without: [
      { file: "src/revocation/lease-keeper.ts", find: "while (feed.children.isLeased)", replace: "while (false)" },
    ],
    schedule: "a node stops while its agent hears nothing",
  },
  {
    id: "N7",
    rule: "a lease that was granted by another clock allows for both",
    without: [
      {
        file: LINK,
        find: "countedHere(durationMs(remaining), clockRateError)",
        replace: "durationMs(remaining)",
      },
    ],
    schedule: "a fast node and a slow agent that hears nothing",
  },
  {
    id: "N8",
    seed: 132,
    rule: "what is sent on a stream arrives in order",
    without: [],
    flaws: { streamsReorder: true },
  },
  {
    id: "N9",
    seed: 95,
    rule: "a change is told before the next lease is granted",
    without: [
      {
        file: CHILD,
        find: "if (!this.#isClosed) this.#options.stream.changed({ sequence: this.#sequence, keyIds });",
        replace:
          "const change = { sequence: this.#sequence, keyIds }; this.#options.clocks.after(150, () => this.#isClosed || this.#options.stream.changed(change));",
      },
    ],
  },
  {
    id: "N10",
    rule: "whoever is told what may be kept is told of its changes",
    without: [{ file: SESSION, find: "    this.#child.lookedUp(found.keyId);\n", replace: "" }],
  },
  {
    id: "N11",
    rule: "nothing is asked on a stream before its first lease",
    without: [
      {
        file: LINK,
        find: "return this.#stream?.attachedMs !== undefined &&",
        replace: "return this.#stream !== undefined &&",
      },
    ],
    schedule: "an agent that has a lease asks another node, which is slow to grant one",
  },
  {
    id: "N12",
    rule: "the first lease of a stream drops what was kept",
    without: [
      { file: LINK, find: "      cache.clear();\n      stream.attachedMs", replace: "      stream.attachedMs" },
    ],
  },
  {
    id: "N13",
    rule: "beyond the keys that are remembered everything is dropped",
    without: [
      {
        file: CHILD,
        find: "!this.#keys.has(keyId)) this.reset();",
        replace: "!this.#keys.has(keyId)) this.#keys.clear();",
      },
    ],
  },
  {
    id: "N14",
    seed: 84,
    rule: "a lease that is granted shortens none that may still run",
    without: [
      {
        file: CHILD,
        find: "Math.max(this.#leaseEndsMs, clocks.monotonicMs() + remainingMs)",
        replace: "clocks.monotonicMs() + remainingMs",
      },
    ],
    schedule: "the wall clock of a node is set on, and a lease that it grants ends before the one before",
  },
  {
    id: "N15",
    seed: 96,
    rule: "a renewal that was not acknowledged holds up every revision that it brought",
    without: [
      {
        file: FEED,
        find: "const after = Math.min(this.#appliedRevision, revision - 1);",
        replace: "const after = revision - 1;",
      },
    ],
  },
  {
    id: "N16",
    rule: "what changes while a lease has lapsed is told too",
    without: [
      {
        file: CHILD,
        find: "if (!this.#isClosed) this.#options.stream.changed",
        replace: "if (!this.#isClosed && this.isLeased()) this.#options.stream.changed",
      },
    ],
  },
  {
    id: "N17",
    seed: 166,
    rule: "what is kept lasts for what was left of it",
    without: [
      {
        file: "src/verify/secret-cache.ts",
        find: "Math.max(0, this.#leftMs(known, maxAgeMs, now))",
        replace: "Math.min(maxAgeMs, known.lastsMs)",
      },
    ],
  },
  {
    id: "N18",
    seed: 140,
    rule: "a lease that is given back is over",
    without: [
      {
        file: LINK,
        find: "    this.#options.lease.end();\n    this.#stream?.channel.send",
        replace: "    this.#stream?.channel.send",
      },
    ],
  },
  {
    id: "N19",
    seed: 606,
    rule: "no lease outlives the node's own",
    without: [
      {
        file: CHILD,
        find: "const remainingMs = lease.remainingMs();",
        replace: "const remainingMs = lease.isLive() ? 1000 : 0;",
      },
    ],
  },
  {
    id: "N20",
    rule: "only what the node may answer from itself may be kept",
    without: [
      {
        file: "src/verify/secret-cache.ts",
        find: "const isKept = lease.isLive(now) && this.#slotsOf(known.keyId).some((slot) => this.#secrets.at(slot) === known);",
        replace: "const isKept = true;",
      },
    ],
    schedule: "an agent's question is read slowly, and the key is revoked meanwhile",
  },
  {
    id: "N21",
    rule: "a change is acknowledged once it is applied",
    without: [
      {
        file: CHILD,
        find: "children.markPending(this, { after, revision, sequence, untilMs, notifiedMs });",
        replace: "void [children, after, revision, sequence, untilMs, notifiedMs];",
      },
    ],
  },
  {
    id: "N22",
    seed: 797,
    rule: "an acknowledgement is for nothing that was told later",
    without: [
      {
        file: CHILDREN,
        find: "this.#keep(child, later);",
        replace: "this.#keep(child, []);",
      },
    ],
  },
  {
    id: "N23",
    rule: "nothing is acknowledged before everything is dropped that was to be",
    without: [
      {
        file: CHILD,
        find: "{ after: 0, revision: Number.POSITIVE_INFINITY }",
        replace: "{ after: Number.POSITIVE_INFINITY, revision: 0 }",
      },
    ],
    schedule: "a node registers anew, and its agent does not hear of it",
  },
  {
    id: "N24",
    rule: "what a renewal brings is told",
    without: [{ file: FEED, find: "this.#notify({ after, revision, keyIds });", replace: "void after;" }],
  },
  {
    id: "N25",
    rule: "what is pushed is told",
    without: [
      {
        file: FEED,
        find: "this.#notify({ after: revision - 1, revision, keyIds });",
        replace: "",
      },
    ],
  },
];
