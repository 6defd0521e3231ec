import type { TestProject } from "vitest/node";
import { migrate } from "../../src/postgres/migrate.ts";
import { createDatabase } from "./database.ts";
import { findPostgres, findRedis } from "./find-services.ts";
import { findGo, findPython } from "./find-tools.ts";

/** Vitest's global set-up: finds the shared services and the tools, migrates the template database, and hands both to the tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [server, redis] = await Promise.all([findPostgres(), findRedis()]);
  const close = async () => void (await Promise.all([server?.stop(), redis?.stop()]));
  try {
    const template = server && (await createTemplate(server.url));
    project.provide("postgres", server && template && { adminUrl: server.url, template: template.name });
    project.provide("redis", redis && { url: redis.url });
    project.provide("python", findPython());
    project.provide("go", findGo());
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
