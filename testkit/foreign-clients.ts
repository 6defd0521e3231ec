import { copyFile, mkdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { inject } from "vitest";

/** For `python3 -c`: protoc as grpcio-tools brings it. Not `-m`, which adds proto files of its own. */
export const PYTHON_GENERATOR = "import sys; from grpc_tools.protoc import main; sys.exit(main(sys.argv))";

/** Go with the modules that `.ci/bring-tools` has brought, without a download. */
export interface GoEnvironment {
  readonly env: Readonly<Record<string, string>> & { readonly PATH: string };
  /** Makes the folder the module `example`: in place of `go mod init example && go mod tidy`. */
  takeModule(folder: string): Promise<void>;
}

export function goEnvironment(): GoEnvironment {
  const go = inject("go");
  if (go === undefined) throw new Error("there is no Go here: put the test into describeWithGo");
  const PATH = `${go.folder}${delimiter}${process.env.PATH}`;
  return {
    env: { PATH, GOFLAGS: "-mod=readonly", GOPROXY: "off" },
    async takeModule(folder) {
      await mkdir(folder, { recursive: true });
      for (const file of ["go.mod", "go.sum"]) await copyFile(join(go.module, file), join(folder, file));
    },
  };
}
