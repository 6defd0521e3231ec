import { registerHooks } from "node:module";

/** Packages whose modules import each other by file, and whose files at these paths are ES modules. */
const PACKAGES = /\/node_modules\/(?:drizzle-orm|@(?:bufbuild|connectrpc)\/[^/]+\/dist\/esm)\//;

/**
 * Node 26 looks up the package.json of a module's package again for each module. For Drizzle, whose file has 180 KB,
 * that took half of a server's loading time; for Protobuf and Connect, a third of a command's. A module that is
 * resolved by its file needs no package.json.
 */
export function shortenImports() {
  registerHooks({
    resolve(specifier, context, next) {
      const { parentURL = "" } = context;
      const isShort = PACKAGES.test(parentURL) && /^\.\.?\/.*\.js$/.test(specifier) && isImport(context);
      return isShort
        ? { url: new URL(specifier, parentURL).href, format: "module", shortCircuit: true }
        : next(specifier, context);
    },
  });
}

function isImport({ conditions = [] }) {
  return conditions.includes("import");
}
