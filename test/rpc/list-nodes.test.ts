import { durationMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { NodeState } from "#gen/claviger/v1/node_pb.js";
import { createVerifier } from "../../src/sdk/index.ts";
import { describeOnEachStorage } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { runInFakeShell } from "../../testkit/fakes/fake-shell.ts";
import { makeKey } from "./make-key.ts";

describeOnEachStorage(
  "ListNodes",
  (claviger) => {
    it("lists the node that answers, with its lease", async () => {
      const { nodes, epoch, agents, agentCount } = await claviger().admin.keys.listNodes({});
      expect(nodes).toMatchObject([
        { epoch, address: claviger().url, state: NodeState.LIVE, usesRevocationSet: false },
      ]);
      const [node] = nodes;
      expect(node?.term && durationMs(node.term)).toBe(3000);
      expect(node?.silence && durationMs(node.silence)).toBeLessThan(3000);
      expect({ agents, agentCount }).toEqual({ agents: [], agentCount: 0 });
    });

    it("lists an agent while it is attached: its key, its owner, and that it holds a lease", async () => {
      const { admin, url } = claviger();
      const service = await makeKey(admin, { owner: "watched", scopes: ["claviger:verify"] });
      const { secret } = await makeKey(admin, { owner: "customer" });
      const verifier = createVerifier({ url, token: service.secret });
      try {
        await eventually(async () => {
          await verifier.verify(secret);
          const { agents, agentCount } = await admin.keys.listNodes({});
          expect(agentCount).toBe(1);
          expect(agents).toMatchObject([{ keyId: service.id, owner: "watched", leased: true, pendingChanges: 0 }]);
          expect(agents[0]?.address).toContain("127.0.0.1");
        });
        const environment = { CLAVIGER_URL: url, CLAVIGER_TOKEN: claviger().adminToken };
        const shown = await runInFakeShell(["agents"], { environment });
        expect(shown.out).toMatch(new RegExp(`^KEY ID .*\n${service.id}  watched  .* held +0$`, "m"));
        expect(shown.err).toContain(`1 attached to ${url}`);
      } finally {
        await verifier.close();
      }
      await eventually(async () => expect((await admin.keys.listNodes({})).agentCount).toBe(0));
    });

    it("is shown by `claviger nodes`, over the API and with nothing but a key that may", async () => {
      const { admin, url } = claviger();
      const { secret } = await makeKey(admin, { owner: "watcher", scopes: ["claviger:nodes.read"] });
      const { code, out, err } = await runInFakeShell(["nodes"], {
        environment: { CLAVIGER_URL: url, CLAVIGER_TOKEN: secret },
      });
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(out).toMatch(new RegExp(`^ADDRESS +LEASE.*\n${url} +live +3 s +\\d+ m?s ago +\\d+ +[0-9a-f]{8}\n$`));
    });
  },
  { CLAVIGER_LEASE_MS: "3000" },
);
