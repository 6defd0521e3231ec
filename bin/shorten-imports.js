import { registerHooks } from "node:module";

/**
 * Node 26 parses the package.json of a module's package again for each module, and Drizzle's has 180 KB: that took half of
 * what a server loads. Drizzle's modules name each other by file, which takes no package.json to find.
 */
export function shortenImports() {
  const drizzle = new URL(".", import.meta.resolve("drizzle-orm")).href;
  registerHooks({
    resolve(specifier, context, next) {
      const { parentURL = "" } = context;
      if (!parentURL.startsWith(drizzle) || !/^\.\.?\/.*\.js$/.test(specifier)) return next(specifier, context);
      return { url: new URL(specifier, parentURL).href, format: "module", shortCircuit: true };
    },
  });
}
