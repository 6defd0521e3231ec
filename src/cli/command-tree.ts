import type { Command } from "commander";
import type { Shell } from "./shell.ts";

/** Gives a command its arguments, flags, examples and action; `wholeProgram` loads every other command too. */
export type Define = (command: Command, shell: Shell, wholeProgram: () => Promise<Command>) => void;

/** A command. Its module is loaded only when it is run or described: a start is mostly loading. */
export interface Leaf {
  readonly description: string;
  readonly load: () => Promise<Define>;
}

/** A command that only has commands. */
export interface Group {
  readonly description: string;
  readonly commands: Readonly<Record<string, Leaf>>;
  readonly examples: readonly string[];
  /** The names of these commands in other tools, and their names here. */
  readonly otherNames: Readonly<Record<string, string>>;
}

const KEYS: Group = {
  description: "manage keys",
  commands: {
    create: {
      description: "create a key and show its secret, this once",
      load: async () => (await import("./commands/keys/create.ts")).addCreate,
    },
    list: {
      description: "list keys that match all filters, newest first",
      load: async () => (await import("./commands/keys/list.ts")).addList,
    },
    get: {
      description: "show one key and the record of its secrets",
      load: async () => (await import("./commands/keys/list.ts")).addGet,
    },
    update: {
      description: "change a key; a given list, map or object replaces the whole field, and a limit only that limit",
      load: async () => (await import("./commands/keys/update.ts")).addUpdate,
    },
    rotate: {
      description: "give a key a new secret and show it, this once; the old one stays good for a while",
      load: async () => (await import("./commands/keys/rotate.ts")).addRotate,
    },
    retire: {
      description: "end one secret of a key now; the key and its other secrets stay",
      load: async () => (await import("./commands/keys/rotate.ts")).addRetire,
    },
    revoke: {
      description: "revoke a key for good, or many: once this has returned, no verification answers VALID",
      load: async () => (await import("./commands/keys/revoke.ts")).addRevoke,
    },
    disable: {
      description: "switch a key off until `enable`",
      load: async () => (await import("./commands/keys/update.ts")).addDisable,
    },
    enable: {
      description: "switch a disabled key on again",
      load: async () => (await import("./commands/keys/update.ts")).addEnable,
    },
  },
  examples: ["claviger keys create --name demo", "claviger keys list --expires-before 14d"],
  otherNames: {
    ...{ delete: "revoke", remove: "revoke", rm: "revoke", destroy: "revoke" },
    ...{ show: "get", describe: "get", view: "get", info: "get" },
    ...{ new: "create", add: "create", ls: "list", edit: "update", set: "update", roll: "rotate", renew: "rotate" },
  },
};

const AUDIT: Group = {
  description: "read and check the audit log",
  commands: {
    list: {
      description: "list what was done to keys, and refused, newest first",
      load: async () => (await import("./commands/audit/list.ts")).addAuditList,
    },
    verify: {
      description: "check the whole audit log, straight in the database, and name the first row that is wrong",
      load: async () => (await import("./commands/audit/verify.ts")).addAuditVerify,
    },
    head: {
      description:
        "print the signed end of the audit log, straight from the database; keep it elsewhere: without a kept head, a cut-off end cannot be seen",
      load: async () => (await import("./commands/audit/verify.ts")).addAuditHead,
    },
  },
  examples: ["claviger audit list --owner u42", "claviger audit verify --head kept-head.json"],
  otherNames: { ls: "list", log: "list", events: "list", check: "verify" },
};

/** Every command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, Leaf | Group>> = {
  serve: {
    description: "run the server until SIGTERM or SIGINT; each flag can also be set by an environment variable",
    load: async () => (await import("./commands/serve.ts")).addServe,
  },
  config: {
    description: "check the settings and print them as `serve` would take them, with their sources; secrets are masked",
    load: async () => (await import("./commands/config.ts")).addConfig,
  },
  migrate: {
    description: "bring the database to this version's schema; `serve` does it too, and both may run at once",
    load: async () => (await import("./commands/migrate.ts")).addMigrate,
  },
  bootstrap: {
    description: "make an admin key, straight in the database, and show its secret, this once",
    load: async () => (await import("./commands/bootstrap.ts")).addBootstrap,
  },
  backup: {
    description: "copy the embedded database into a file, also while its server runs",
    load: async () => (await import("./commands/backup.ts")).addBackup,
  },
  keys: KEYS,
  audit: AUDIT,
  verify: {
    description: "say whether a secret is good; it is read from standard input, or from a prompt",
    load: async () => (await import("./commands/verify.ts")).addVerify,
  },
  usage: {
    description: "show how a key was used, or an owner's keys, or all: every verification that was decided",
    load: async () => (await import("./commands/usage.ts")).addUsage,
  },
  "report-leaked": {
    description: "revoke the key of a secret that was found where it should not be; needs no credential",
    load: async () => (await import("./commands/report-leaked.ts")).addReportLeaked,
  },
  health: {
    description: "say whether a server can do its work (grpc.health.v1)",
    load: async () => (await import("./commands/health.ts")).addHealth,
  },
  nodes: {
    description: "list the nodes of the cluster: where they are, their leases, and how far behind they are",
    load: async () => (await import("./commands/nodes.ts")).addNodes,
  },
  agents: {
    description: "list the agents that verify from memory, their owners and the changes they have not acknowledged",
    load: async () => (await import("./commands/agents.ts")).addAgents,
  },
  canary: {
    description: "try the promise again and again: create a key, verify it on every node, revoke it, verify it again",
    load: async () => (await import("./commands/canary.ts")).addCanary,
  },
  login: {
    description: "keep a server's address and a key in a profile, in a file that only you can read",
    load: async () => (await import("./commands/login.ts")).addLogin,
  },
  logout: {
    description: "remove a profile",
    load: async () => (await import("./commands/login.ts")).addLogout,
  },
  completion: {
    description: "print the completion script of a shell: bash, zsh or fish",
    load: async () => (await import("./commands/completion.ts")).addCompletion,
  },
  version: {
    description: "print the version",
    load: async () => (await import("./commands/version.ts")).addVersion,
  },
};

/** The names of these commands in other tools. */
export const OTHER_NAMES: Readonly<Record<string, string>> = {
  ...{ key: "keys", start: "serve", server: "serve", run: "serve", status: "health", ping: "health" },
  ...{ check: "verify", logs: "audit", stats: "usage", completions: "completion" },
};
