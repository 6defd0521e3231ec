import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { migrate } from "../src/postgres/migrate/migrate.ts";
import { ensureDatabase } from "../src/server/embedded/create-database.ts";
import { createDatabase } from "./database.ts";
import { findPostgres, findRedis } from "./find-services.ts";
import {
  findCompose,
  findGateway,
  findGo,
  findHelm,
  findHpackStories,
  findHttp2Suite,
  findKubernetesSchemas,
  findNodes,
  findPgBouncer,
  findProgram,
  findPython,
} from "./find-tools.ts";
import { findBaseBackup } from "./postgres-binaries.ts";

/** Vitest's global set-up: finds the shared services and the tools, migrates the template database, and hands both to the tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [server, redis, embedded] = await Promise.all([findPostgres(), findRedis(), createEmbeddedTemplate()]);
  const close = async () => void (await Promise.all([server?.stop(), redis?.stop(), embedded.remove()]));
  try {
    const template = server && (await createTemplate(server.url));
    project.provide("postgres", server && template && { adminUrl: server.url, template: template.name });
    project.provide("embedded", { template: embedded.folder });
    project.provide("standby", findBaseBackup());
    project.provide("redis", redis && { url: redis.url });
    project.provide("pgbouncer", findPgBouncer());
    for (const name of ["openssl", "bash", "zsh", "fish", "nghttp", "curl"] as const) {
      project.provide(name, findProgram(name));
    }
    project.provide("python", findPython());
    project.provide("go", findGo());
    project.provide("hpack", findHpackStories());
    project.provide("h2spec", findHttp2Suite("h2spec"));
    project.provide("interop", findHttp2Suite("grpc-interop"));
    project.provide("connectconformance", findHttp2Suite("connectconformance"));
    project.provide("compose", findCompose());
    project.provide("helm", findHelm());
    project.provide("kubernetes", findKubernetesSchemas());
    project.provide("systemd", findProgram("systemd-analyze"));
    for (const name of ["envoy", "nginx", "haproxy", "caddy"] as const) project.provide(name, findGateway(name));
    project.provide("nodes", findNodes());
    return async () => {
      await template?.drop();
      await close();
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function createTemplate(adminUrl: string): Promise<{ name: string; drop(): Promise<void> }> {
  const database = await createDatabase({ adminUrl });
  await migrate({ databaseUrl: database.url });
  return { name: new URL(database.url).pathname.slice(1), drop: database.drop };
}

/** Making an embedded database takes seconds, copying one a fraction of one. */
async function createEmbeddedTemplate(): Promise<{ folder: string; remove(): Promise<void> }> {
  const parent = await mkdtemp(join(tmpdir(), "claviger-template-"));
  const folder = join(parent, "database");
  await ensureDatabase(folder);
  return { folder, remove: () => rm(parent, { recursive: true, force: true }) };
}
