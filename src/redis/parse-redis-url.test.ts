import { expect, it } from "vitest";
import { parseRedisUrl } from "./parse-redis-url.ts";

it.each([
  ["redis://h:1/2", { kind: "standalone", url: "redis://h:1/2" }],
  ["rediss://u:p@h", { kind: "standalone", url: "rediss://u:p@h" }],
  ["redis://a:1, redis://b:2", { kind: "cluster", urls: ["redis://a:1", "redis://b:2"] }],
  [
    "redis+sentinel://u:p%40@a,b:7/main",
    {
      kind: "sentinel",
      sentinels: [
        { host: "a", port: 26379 },
        { host: "b", port: 7 },
      ],
      ...{ name: "main", username: "u", password: "p@", tls: false },
    },
  ],
  [
    "rediss+sentinel://[::1]:7/main",
    {
      ...{ kind: "sentinel", sentinels: [{ host: "::1", port: 7 }], name: "main" },
      ...{ username: undefined, password: undefined, tls: true },
    },
  ],
  [
    "unix:///run/my%20redis.sock?db=5",
    { kind: "unix", path: "/run/my redis.sock", database: 5, username: undefined, password: undefined },
  ],
  [
    "redis+unix://u:p%40@/run/redis.sock",
    { kind: "unix", path: "/run/redis.sock", database: 0, username: "u", password: "p@" },
  ],
])("%s is understood", (text, address) => {
  expect(parseRedisUrl(text)).toEqual(address);
});

it.each([
  ...["", "h:1", "http://h", "redis://", "redis://a,", "redis://a,rediss://b", "redis://a/x", "redis+sentinel://a"],
  ...["redis+sentinel:///main", "redis+sentinel://a:99999/main", "redis+sentinel://u:hunter2%@a/main"],
  ...["unix://", "unix://host/x.sock:", "unix:///x.sock?db=x", "unix://u:hunter2%@/x.sock", "redis://u:12#hunter2@a"],
  ...["redis://:hunter2%@a", "redis://:hunter2@a?autoResendUnfulfilledCommands=1"],
])("%j is refused, and what is right is said without repeating it", (text) => {
  expect(() => parseRedisUrl(text)).toThrow(/^is not a Redis address\. Give redis:\/\/host:6379/);
  expect(() => parseRedisUrl(text)).not.toThrow(/hunter2/);
});
