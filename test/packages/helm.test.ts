import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { describeWithHelm, describeWithKubernetes } from "../../testkit/describe-with.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { runProgram } from "../../testkit/run-program.ts";

const CHART = join(REPOSITORY, "ops/helm/claviger");
const NAMES = ["minimal", "production", "everything"] as const;
const VERSIONS = ["1.30", "1.37"];
/** Kinds of other projects: Kubernetes has no schema for them. */
const FOREIGN = ["monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1"];

interface PodSpec {
  readonly terminationGracePeriodSeconds?: number;
  readonly enableServiceLinks?: boolean;
  readonly securityContext: unknown;
  readonly containers: readonly {
    readonly image: string;
    readonly env: readonly { readonly name: string; readonly value: string }[];
    readonly securityContext: unknown;
    readonly [name: string]: unknown;
  }[];
  readonly [name: string]: unknown;
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly replicas?: number;
    readonly template: { readonly spec: PodSpec };
    readonly [name: string]: unknown;
  };
}

describeWithHelm("the Helm chart", () => {
  const helm = (...args: string[]) => runProgram(inject("helm") ?? "", args);
  const valuesOf = (name: string) => join(CHART, "ci", `${name}-values.yaml`);
  const rendered = new Map<string, Manifest[]>();

  beforeAll(async () => {
    for (const name of NAMES) {
      const { code, stdout, stderr } = await helm("template", "keys", CHART, "--values", valuesOf(name));
      expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: "" });
      rendered.set(
        name,
        parseAllDocuments(stdout).map((document) => document.toJS()),
      );
    }
  });

  const manifests = (name: (typeof NAMES)[number]) => rendered.get(name) ?? [];
  function find(name: (typeof NAMES)[number], kind: string): Manifest {
    const found = manifests(name).find((manifest) => manifest.kind === kind);
    if (found === undefined) throw new Error(`${name} makes no ${kind}`);
    return found;
  }
  const podOf = (name: (typeof NAMES)[number], kind = "Deployment") => find(name, kind).spec.template.spec;

  it.each(NAMES)("passes helm lint with the %s values", async (name) => {
    const linted = await helm("lint", "--strict", CHART, "--values", valuesOf(name));
    expect(linted).toMatchObject({ code: 0, stdout: expect.stringContaining("0 chart(s) failed") });
  });

  it("makes every kind of object that it knows with the values that set everything", () => {
    const kinds = new Set(manifests("everything").map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual(
      [
        ...["ConfigMap", "Deployment", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy"],
        ...["PodDisruptionBudget", "Service", "ServiceAccount", "ServiceMonitor"],
      ].sort(),
    );
    expect(manifests("minimal").map(({ kind }) => kind)).not.toContain("Ingress");
  });

  it.each(NAMES)("runs every container without root, with a read-only root and a seccomp profile (%s)", (name) => {
    for (const kind of ["Deployment", "Job"]) {
      const pod = podOf(name, kind);
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      expect(pod).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
      for (const { securityContext } of pod.containers) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
      }
    }
  });

  it("probes the process to keep it alive, and the service that verifies to send it calls, over gRPC", () => {
    const probe = (service: string) => expect.objectContaining({ grpc: { port: 4640, service } });
    expect(podOf("production").containers[0]).toMatchObject({
      startupProbe: probe(""),
      livenessProbe: probe(""),
      readinessProbe: probe("claviger.v1.KeyVerifier"),
    });
  });

  it("only connects to a port with TLS, since probes of gRPC cannot speak it", () => {
    expect(podOf("everything").containers[0]).toMatchObject({ readinessProbe: { tcpSocket: { port: "api" } } });
  });

  it("takes secrets as files of a Secret, and shows none in a manifest", () => {
    const [container] = podOf("production").containers;
    expect(container?.env.slice(0, 3)).toEqual([
      { name: "CLAVIGER_ROOT_SECRETS_FILE", value: "/etc/claviger/secrets/root-secrets" },
      { name: "DATABASE_URL_FILE", value: "/etc/claviger/secrets/database-url" },
      { name: "REDIS_URL_FILE", value: "/etc/claviger/secrets/redis-url" },
    ]);
    expect(manifests("everything").map(({ kind }) => kind)).not.toContain("Secret");
  });

  it("migrates before an install and an upgrade, as the role for that", () => {
    const job = find("production", "Job");
    expect(job.metadata.annotations).toMatchObject({ "helm.sh/hook": "pre-install,pre-upgrade" });
    expect(job.spec.template.spec.containers[0]).toMatchObject({
      args: ["migrate"],
      env: [{ name: "DATABASE_URL_FILE", value: "/etc/claviger/secrets/migrate-database-url" }],
    });
  });

  it("takes at most one node away at a time", () => {
    for (const name of NAMES) expect(find(name, "PodDisruptionBudget").spec).toMatchObject({ maxUnavailable: 1 });
    expect(find("minimal", "Deployment").spec).toMatchObject({
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    });
  });

  it("leaves the number of nodes to the autoscaler where there is one", () => {
    expect(find("everything", "Deployment").spec.replicas).toBeUndefined();
    expect(find("minimal", "Deployment").spec.replicas).toBe(2);
  });

  it("names the image by its digest before its tag", () => {
    expect(podOf("minimal").containers[0]?.image).toBe("claviger:0.1.0");
    expect(podOf("everything").containers[0]?.image).toMatch(/^registry\.example\.com\/keys@sha256:0+$/);
  });

  it("spreads nodes by their own labels, unless the values say otherwise", () => {
    const own = { "app.kubernetes.io/name": "claviger", "app.kubernetes.io/component": "server" };
    expect(podOf("production").topologySpreadConstraints).toMatchObject([{ labelSelector: { matchLabels: own } }]);
    expect(podOf("everything").topologySpreadConstraints).toMatchObject([
      { labelSelector: { matchLabels: { team: "platform" } } },
    ]);
  });

  it.each([
    ["no Secret", [], /existingSecret/],
    ["an unknown value", ["--set", "existingSecret=x,replicas=3"], /replicas/],
    ["a setting that is none", ["--set", "existingSecret=x,settings.LOG_LEVEL=warn"], /LOG_LEVEL/],
    [
      "a pod that is killed before its calls have finished",
      ["--set", "existingSecret=x,policy.port.drainMs=60000"],
      /terminationGracePeriodSeconds is 45\. Give more than 65/,
    ],
  ])("refuses %s, and names it", async (_, args, problem) => {
    const refused = await helm("template", "keys", CHART, ...args);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(problem);
  });

  it("has the version of the package", () => {
    const { version } = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8"));
    const chart = readFileSync(join(CHART, "Chart.yaml"), "utf8");
    expect(chart).toContain(`\nversion: ${version}\nappVersion: ${version}\n`);
  });

  describeWithKubernetes("its manifests", () => {
    /** The problems of a manifest by Kubernetes' own schema, which knows all of its fields. */
    function problemsOf(version: string): (manifest: Manifest) => string[] {
      const folder = join(inject("kubernetes") ?? "", version);
      const read = (file: string) => JSON.parse(readFileSync(join(folder, file), "utf8"));
      const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
      ajv.addSchema(read("_definitions.json"));
      return ({ apiVersion, kind, ...rest }) => {
        const [group = "", of] = apiVersion.split("/");
        const suffix = of === undefined ? group : `${group.split(".")[0]}-${of}`;
        const schema = read(`${kind.toLowerCase()}-${suffix}.json`);
        const validate = ajv.getSchema(schema.$id) ?? ajv.compile(schema);
        validate({ apiVersion, kind, ...rest });
        return validate.errors?.map(({ instancePath, message }) => `${kind}${instancePath} ${message}`) ?? [];
      };
    }
    const native = (name: (typeof NAMES)[number]) =>
      manifests(name).filter(({ apiVersion }) => !FOREIGN.includes(apiVersion));

    describe.each(VERSIONS)("by the schemas of Kubernetes %s", (version) => {
      it("have known fields of the right types alone", () => {
        const find = problemsOf(version);
        expect(NAMES.flatMap((name) => native(name).flatMap(find))).toEqual([]);
      });

      it("control: a field that does not exist, and one of a wrong type, are found", () => {
        const find = problemsOf(version);
        const budget = native("minimal").find(({ kind }) => kind === "PodDisruptionBudget");
        if (budget === undefined) throw new Error("no budget");
        const wrong = { ...budget, spec: { ...budget.spec, maxUnavailables: 1, selector: "all" } };
        expect(find(wrong).length).toBeGreaterThan(1);
      });
    });
  });
});
