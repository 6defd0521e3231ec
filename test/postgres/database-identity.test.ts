import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { databaseIdentity, isEarlierTimeline } from "../../src/postgres/revisions.ts";
import { createDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

async function query(url: string, statement: string): Promise<Record<string, unknown> | undefined> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(statement)).rows[0];
  } finally {
    await client.end();
  }
}

async function identityOf(url: string): Promise<string> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const [row] = await drizzle(client).select({ identity: databaseIdentity }).from(sql`(select 1) as one`);
    return row?.identity ?? "";
  } finally {
    await client.end();
  }
}

describeWithPostgres("the identity of a database", () => {
  let clones: [TestDatabase, TestDatabase];

  beforeAll(async () => {
    const shared = inject("postgres");
    if (!shared) throw new Error("there is no Postgres here");
    clones = [await createDatabase(shared), await createDatabase(shared)];
  });
  afterAll(() => Promise.all((clones ?? []).map((clone) => clone.drop())));

  it("differs between clones in one server, which have the same cluster id", async () => {
    const [one, other] = clones.map(({ url }) => url);
    const clusterId = "select cluster_id from revision";
    expect(await query(one ?? "", clusterId)).toEqual(await query(other ?? "", clusterId));
    expect(await identityOf(one ?? "")).not.toBe(await identityOf(other ?? ""));
    expect(await identityOf(one ?? "")).toBe(await identityOf(one ?? ""));
  });

  it("stays when the database is renamed", async () => {
    const [one, other] = clones;
    const before = await identityOf(one.url);
    const [name, renamed] = [new URL(one.url).pathname.slice(1), `${new URL(one.url).pathname.slice(1)}_renamed`];
    await query(other.url, `alter database ${name} rename to ${renamed}`);
    try {
      expect(await identityOf(one.url.replace(name, renamed))).toBe(before);
    } finally {
      await query(other.url, `alter database ${renamed} rename to ${name}`);
    }
  });

  it("ends with the timeline, by which an old primary is told from its successor", async () => {
    const [one, other] = await Promise.all(clones.map(({ url }) => identityOf(url)));
    const promoted = (identity = "") => identity.replace(/[0-9A-F]{8}$/, "7FFFFFFF");
    expect(isEarlierTimeline(one ?? "", promoted(one))).toBe(true);
    expect(isEarlierTimeline(one ?? "", promoted(other))).toBe(false);
  });
});
