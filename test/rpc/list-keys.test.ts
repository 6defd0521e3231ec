import { toBinary } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { ListKeysResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { KeyState } from "#gen/claviger/v1/key_pb.js";
import { type Clients, describeOnEachStorage } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { ageKey } from "./age-key.ts";
import { changeKey } from "./change-key.ts";
import { fillKeys } from "./fill-keys.ts";
import { makeKey } from "./make-key.ts";

const DAY_MS = 86_400_000;

type ListRequest = Parameters<Clients["keys"]["listKeys"]>[0];

describeOnEachStorage("ListKeys", (claviger) => {
  const idsOf = async (request: ListRequest) =>
    (await claviger().admin.keys.listKeys(request)).keys.map(({ id }) => id);

  /** The ids of all pages, and how many each had. */
  async function walk(request: ListRequest) {
    const ids: string[] = [];
    const sizes: number[] = [];
    let pageToken = "";
    do {
      const page = await claviger().admin.keys.listKeys({ ...request, pageToken });
      ids.push(...page.keys.map(({ id }) => id));
      sizes.push(page.keys.length);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return { ids, sizes };
  }

  it("shows the keys of an owner, newest first, as GetKey shows them", async () => {
    const { admin } = claviger();
    const owner = "list-owner";
    const made = [await makeKey(admin, { owner }), await makeKey(admin, { owner }), await makeKey(admin, { owner })];
    await makeKey(admin, { owner: "list-owner-other" });
    await admin.keys.rotateKey({ keyId: made[1]?.id ?? "" });
    const { keys, nextPageToken } = await admin.keys.listKeys({ owner });
    expect(nextPageToken).toBe("");
    expect(keys.map(({ id }) => id)).toEqual(made.map(({ id }) => id).toReversed());
    for (const key of keys) expect((await admin.keys.getKey({ keyId: key.id })).key).toEqual(key);
    expect(await idsOf({ owner: "list-owner-nobody" })).toEqual([]);
  });

  it("takes the last instant that a timestamp can hold", async () => {
    const last = { seconds: 253_402_300_799n, nanos: 999_999_999 };
    const made = await makeKey(claviger().admin, { owner: "list-last" });
    expect(await idsOf({ owner: "list-last", expiresBefore: last, unusedSince: last })).toEqual([made.id]);
  });

  it("shows only keys in the state asked for", async () => {
    const { admin, storage } = claviger();
    const owner = "list-state";
    const [active, onlyDisabled, disabled, expired, revoked] = [
      await makeKey(admin, { owner }),
      await makeKey(admin, { owner }),
      await makeKey(admin, { owner }),
      await makeKey(admin, { owner }),
      await makeKey(admin, { owner }),
    ];
    for (const { id } of [onlyDisabled, disabled]) await changeKey(admin, id, { disabled: true });
    await admin.keys.revokeKey({ keyId: revoked.id });
    // Dead in several ways: each key is in the one state that GetKey shows.
    for (const { id } of [expired, disabled, revoked]) await ageKey(storage, id, 90 * DAY_MS);
    expect(await idsOf({ owner, state: KeyState.ACTIVE })).toEqual([active.id]);
    expect(await idsOf({ owner, state: KeyState.DISABLED })).toEqual([disabled.id, onlyDisabled.id]);
    expect(await idsOf({ owner, state: KeyState.EXPIRED })).toEqual([expired.id]);
    expect(await idsOf({ owner, state: KeyState.REVOKED })).toEqual([revoked.id]);
    expect(await idsOf({ owner, state: KeyState.UNSPECIFIED })).toHaveLength(5);
  });

  it("shows only keys that have all the labels asked for, whoever owns them", async () => {
    const { admin } = claviger();
    const create = (owner: string, labels: Record<string, string>) => makeKey(admin, { owner, labels });
    const both = await create("list-labels-1", { ll_team: "blue", ll_tier: "gold", other: "x" });
    const one = await create("list-labels-2", { ll_team: "blue" });
    await create("list-labels-2", { ll_team: "red", ll_tier: "gold" });
    expect(await idsOf({ labelSelector: { ll_team: "blue" } })).toEqual([one.id, both.id]);
    expect(await idsOf({ labelSelector: { ll_team: "blue", ll_tier: "gold" } })).toEqual([both.id]);
    expect(await idsOf({ owner: "list-labels-2", labelSelector: { ll_tier: "gold", ll_team: "blue" } })).toEqual([]);
    expect(await idsOf({ labelSelector: { ll_team: "" } })).toEqual([]);
  });

  it("shows only keys whose current secret expires before the moment asked for", async () => {
    const { admin } = claviger();
    const owner = "list-expires";
    const soon = await makeKey(admin, { owner, ttl: durationFromMs(DAY_MS) });
    const late = await makeKey(admin, { owner });
    const inTwoDays = timestampFromMs(Date.now() + 2 * DAY_MS);
    expect(await idsOf({ owner, expiresBefore: inTwoDays })).toEqual([soon.id]);
    expect(await idsOf({ owner, expiresBefore: timestampNow() })).toEqual([]);
    await admin.keys.rotateKey({ keyId: late.id, ttl: durationFromMs(DAY_MS) });
    expect(await idsOf({ owner, expiresBefore: inTwoDays })).toEqual([late.id, soon.id]);
  });

  it("leads through all pages to every key once", async () => {
    const { storage } = claviger();
    await fillKeys(storage, { name: "list-pages", count: 107 });
    const request = { owner: "list-pages-0" };
    const all = await walk(request);
    expect(all.sizes).toEqual([50, 50, 7]);
    expect(new Set(all.ids).size).toBe(107);
    expect(all.ids).toEqual(all.ids.toSorted().toReversed());
    expect(await walk({ ...request, pageSize: 107 })).toEqual({ ids: all.ids, sizes: [107] });
    expect((await walk({ ...request, pageSize: 10 })).ids).toEqual(all.ids);
    const filtered = { labelSelector: { of: "list-pages" }, state: KeyState.REVOKED, pageSize: 4 };
    expect((await walk(filtered)).sizes).toEqual([4, 4, 4, 3]);
  });

  it("is not disturbed by keys that are created or revoked between two pages", async () => {
    const { admin } = claviger();
    const owner = "list-between";
    for (let i = 0; i < 6; i++) await makeKey(admin, { owner });
    const first = await admin.keys.listKeys({ owner, pageSize: 3 });
    await makeKey(admin, { owner });
    await admin.keys.revokeKey({ keyId: first.keys[2]?.id ?? "" });
    const second = await admin.keys.listKeys({ owner, pageSize: 4, pageToken: first.nextPageToken });
    expect(second.keys).toHaveLength(3);
    expect(second.nextPageToken).toBe("");
    expect(new Set([...first.keys, ...second.keys].map(({ id }) => id)).size).toBe(6);
  });

  it("shows at most 1000 keys at once, whatever is asked for", async () => {
    const { storage } = claviger();
    await fillKeys(storage, { name: "list-many", count: 1001 });
    expect((await walk({ owner: "list-many-0", pageSize: 5000 })).sizes).toEqual([1000, 1]);
  });

  it("ends a page at 1 MiB even if it is short, and goes on from there", async () => {
    const { admin, storage } = claviger();
    await fillKeys(storage, { name: "list-large", count: 300, metadataBytes: 4000 });
    const request = { owner: "list-large-0", pageSize: 1000 };
    const first = await admin.keys.listKeys(request);
    const bytes = toBinary(ListKeysResponseSchema, first).length;
    expect(bytes).toBeLessThanOrEqual(1024 * 1024);
    expect(bytes).toBeGreaterThan(1000 * 1024);
    const { ids, sizes } = await walk(request);
    expect(sizes).toHaveLength(2);
    expect(new Set(ids).size).toBe(300);
  });

  it("refuses a token that was tampered with, made for other filters, or never made", async () => {
    const { admin } = claviger();
    const owner = "list-token";
    await makeKey(admin, { owner });
    await makeKey(admin, { owner });
    const { nextPageToken: token } = await admin.keys.listKeys({ owner, pageSize: 1 });
    expect(token).not.toBe("");
    const swapped = (at: number) => token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    const wrong: ListRequest[] = [
      { owner, pageToken: "x" },
      { owner, pageToken: `${token}A` },
      { owner, pageToken: token.slice(0, -1) },
      { owner, pageToken: `${token}=` },
      ...[0, 10, 25, 40, token.length - 1].map((at) => ({ owner, pageToken: swapped(at) })),
      { pageToken: token },
      { owner: "list-token-2", pageToken: token },
      { owner, state: KeyState.ACTIVE, pageToken: token },
      { owner, labelSelector: { a: "b" }, pageToken: token },
      { owner, expiresBefore: timestampNow(), pageToken: token },
    ];
    for (const request of wrong) {
      expect(await refusalOf(admin.keys.listKeys(request))).toMatchObject({
        code: "InvalidArgument",
        reason: "PAGE_TOKEN_INVALID",
        domain: "claviger",
      });
    }
    expect(await idsOf({ owner, pageToken: token })).toHaveLength(1);
  });

  it.each([
    ["a negative page_size", { pageSize: -1 }, "page_size"],
    ["a page_token of 1025 bytes", { pageToken: "x".repeat(1025) }, "page_token"],
    ["an owner of 256 bytes", { owner: "o".repeat(256) }, "owner"],
    ["a state that is not known", { state: 9 as KeyState }, "state"],
    ["a label key with a capital", { labelSelector: { Team: "" } }, 'label_selector["Team"]'],
    ["an instant beyond the year 9999", { expiresBefore: { seconds: 253_402_300_800n } }, "expires_before"],
  ])("refuses %s", async (_, request, field) => {
    const { admin } = claviger();
    expect(await refusalOf(admin.keys.listKeys(request))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      domain: "claviger",
      fields: [field],
    });
  });
});
