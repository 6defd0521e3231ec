import { registerHooks } from "node:module";
import "./shorten-imports.ts";
import { applyMutation, type LoadedMutation } from "./mutation.ts";

const mutations: readonly LoadedMutation[] = JSON.parse(process.env.CLAVIGER_TEST_MUTATIONS ?? "[]");

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const own = mutations.filter((mutation) => mutation.url === url);
    if (own.length === 0) return loaded;
    const source = own.reduce((text, mutation) => applyMutation(mutation, text), String(loaded.source));
    return { ...loaded, source };
  },
});
