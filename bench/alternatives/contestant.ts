export interface Made {
  readonly id: string;
  readonly secret: string;
}

/** The counts that it keeps of the uses of a key. */
export interface Count {
  readonly remaining: number;
  /** When the key was last used, in milliseconds of Unix time. */
  readonly lastRequest: number;
}

/** A way to keep API keys, in the process that needs them verified. */
export interface Contestant {
  /** Makes a key of user `user`, or else of the one who may remove it; `remaining` is how often it may be used. */
  create(options?: { readonly user?: number; readonly remaining?: number }): Promise<Made>;
  verify(secret: string): Promise<boolean>;
  remove(id: string): Promise<void>;
  disable(id: string): Promise<void>;
  /** Nothing where nothing is counted. */
  count(id: string): Promise<Count | undefined>;
  /** Waits for what `verify` left for later. */
  settled(): Promise<void>;
}

export interface Stores {
  readonly databaseUrl: string;
  readonly redisUrl: string;
}
