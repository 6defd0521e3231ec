import { registerHooks } from "node:module";

/** Packages whose modules name each other by file, and whose files at these places are ES modules. */
const PACKAGES = /\/node_modules\/(?:drizzle-orm|@(?:bufbuild|connectrpc)\/[^/]+\/dist\/esm)\//;

/**
 * Node 26 looks for the package.json of a module's package again for each module. For Drizzle's, which has 180 KB, that
 * took half of what a server loads; for those of Protobuf and Connect, a third of what a command of the command line does.
 * A module that is named by its file takes no package.json to find.
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
